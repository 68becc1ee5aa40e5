//! What a file of weights may tell of the network that they are for, beside their names and shapes.

/// A window that moves over an image: of a convolution (whose size its weights tell) or of a
/// pooling.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Height and width.
    pub size: [usize; 2],
    /// Down and to the right, in pixels.
    pub stride: [usize; 2],
    /// Padded as TensorFlow's SAME, beyond [`Window::explicit`].
    pub same: bool,
    /// Top, left, bottom, right.
    pub explicit: [usize; 4],
}

/// The activation function behind a layer or a sum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// There is none.
    None,
    /// max(x, 0).
    Relu,
    /// min(max(x, 0), 6).
    Relu6,
    /// The file's integers leave it open.
    Unknown,
}

/// How a layer is applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Geometry {
    /// What moves over the image.
    pub window: Window,
    /// What follows the layer.
    pub activation: Activation,
}

/// The parts of a network that have no weights, each kind in execution order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Structure {
    /// What follows each sum of two computed values.
    pub sums: Vec<Activation>,
    /// The windows of max pools.
    pub max_pools: Vec<Window>,
    /// Operators that no net here has: place in the file, and TensorFlow Lite's builtin code.
    pub foreign: Vec<(usize, i32)>,
}
