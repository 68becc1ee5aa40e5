//! A graph with weights and plan (being written).
