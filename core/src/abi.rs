//! The stable binary boundary (being written).
