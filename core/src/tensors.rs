//! Named tensors in one file (being written).
