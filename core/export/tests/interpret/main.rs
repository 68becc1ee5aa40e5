//! The reference interpreter against outputs of TensorFlow Lite's reference kernels, against plain
//! loops, and on models that are wrong.

mod broken;
mod cases;
mod loops;
mod models;
mod pinned;
mod running;
