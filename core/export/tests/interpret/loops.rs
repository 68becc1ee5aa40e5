//! Layers with weights of any geometry against plain loops in double precision.

use crate::models::{Layer, inputs};
use pocketflow_export::deployed::Activation;
use pocketflow_export::interpret::{Data, Interpreter, Rounding};
use pocketflow_export::tflite::model::{DType, Kind, Padding, TfliteModel};
use proptest::prelude::*;

/// A random layer's geometry.
#[derive(Debug, Clone)]
struct Geometry {
    size: [usize; 2],
    channels: usize,
    outputs: usize,
    kernel: [usize; 2],
    stride: [usize; 2],
    dilation: [usize; 2],
    /// Of a convolution that is not depthwise; divides channels and outputs.
    groups: usize,
    same: bool,
    depthwise: bool,
    dtype: DType,
}

impl Geometry {
    /// Pixels of the output and padding before the image.
    fn side(&self, side: usize) -> (usize, usize) {
        let (size, stride) = (self.size[side], self.stride[side]);
        let kernel = (self.kernel[side] - 1) * self.dilation[side] + 1;
        if self.same {
            let output = size.div_ceil(stride);
            (output, ((output - 1) * stride + kernel).saturating_sub(size) / 2)
        } else {
            ((size - kernel) / stride + 1, 0)
        }
    }

    fn model(&self) -> TfliteModel {
        let padding = if self.same { Padding::Same } else { Padding::Valid };
        let (stride, dilation, activation) = (self.stride, self.dilation, Activation::None);
        let [height, width] = self.kernel;
        let outputs = self.all_outputs();
        let (kind, filter) = if self.depthwise {
            let kind = Kind::DepthwiseConv2d { stride, padding, dilation, multiplier: self.outputs, activation };
            (kind, [1, height, width, outputs])
        } else {
            (
                Kind::Conv2d { stride, padding, dilation, activation },
                [outputs, height, width, self.channels / self.groups],
            )
        };
        let uint8 = self.dtype == DType::Uint8;
        Layer {
            kind,
            dtype: self.dtype,
            input: (&[1, self.size[0], self.size[1], self.channels], (0.05, 5)),
            filter: (&filter, &[0.02], if uint8 { 130 } else { 0 }),
            output: (&[1, self.side(0).0, self.side(1).0, outputs], (0.7, 60)),
        }
        .model()
    }

    fn all_outputs(&self) -> usize {
        if self.depthwise { self.channels * self.outputs } else { self.outputs }
    }

    /// What the layer is to compute, in real numbers, and how far from it a sum in float32 may be:
    /// n + 1 roundings of at most 2⁻²⁴ · Σ |terms| (Higham, Accuracy and Stability of Numerical
    /// Algorithms, §4.2).
    fn expected(&self, model: &TfliteModel, image: &Data) -> Vec<(f64, f64)> {
        let reals = |tensor: usize, data: &Data| -> Vec<f64> {
            let quantization = model.tensors[tensor].quantization.as_ref();
            let (scale, zero) = quantization.map_or((1.0, 0.0), |q| (f64::from(q.scales[0]), q.zero_points[0] as f64));
            codes(data).iter().map(|code| scale * (code - zero)).collect()
        };
        let constant = |tensor: usize| {
            let tensor = &model.tensors[tensor];
            Data::from_bytes(tensor.dtype, tensor.data.as_ref().unwrap()).unwrap()
        };
        let (image, filter, bias) = (reals(0, image), reals(1, &constant(1)), reals(2, &constant(2)));
        let ((height, top), (width, left)) = (self.side(0), self.side(1));
        let mut sums = Vec::new();
        for (y, x) in (0..height).flat_map(|y| (0..width).map(move |x| (y, x))) {
            for output in 0..self.all_outputs() {
                let mut terms = vec![bias[output]];
                for (i, j) in (0..self.kernel[0]).flat_map(|i| (0..self.kernel[1]).map(move |j| (i, j))) {
                    let (row, column) =
                        (y * self.stride[0] + i * self.dilation[0], x * self.stride[1] + j * self.dilation[1]);
                    if row < top || column < left || row - top >= self.size[0] || column - left >= self.size[1] {
                        continue;
                    }
                    let pixel = ((row - top) * self.size[1] + column - left) * self.channels;
                    let tap = i * self.kernel[1] + j;
                    if self.depthwise {
                        let weight = filter[tap * self.all_outputs() + output];
                        terms.push(image[pixel + output / self.outputs] * weight);
                    } else {
                        let depth = self.channels / self.groups;
                        let first = pixel + output / (self.outputs / self.groups) * depth;
                        let row = (output * self.kernel[0] * self.kernel[1] + tap) * depth;
                        terms.extend((0..depth).map(|channel| image[first + channel] * filter[row + channel]));
                    }
                }
                let magnitude: f64 = terms.iter().map(|term| term.abs()).sum();
                let bound = (terms.len() + 1) as f64 * f64::from(-24).exp2() * magnitude;
                sums.push((terms.iter().sum(), bound));
            }
        }
        sums
    }
}

/// The numbers of any data.
fn codes(data: &Data) -> Vec<f64> {
    match data {
        Data::Float(values) => values.iter().map(|value| f64::from(*value)).collect(),
        Data::Int8(values) => values.iter().map(|value| f64::from(*value)).collect(),
        Data::Uint8(values) => values.iter().map(|value| f64::from(*value)).collect(),
        Data::Int32(values) => values.iter().map(|value| f64::from(*value)).collect(),
    }
}

fn geometry() -> impl Strategy<Value = Geometry> {
    let sizes = (1usize..8, 1usize..8, 1usize..5, 1usize..5, 1usize..4, 1usize..4);
    let dtype = prop_oneof![Just(DType::Float32), Just(DType::Int8), Just(DType::Uint8)];
    let spread = (1usize..4, 1usize..4, 1usize..8);
    (sizes, spread, 1usize..9, 1usize..40, any::<bool>(), any::<bool>(), dtype).prop_map(
        |((height, width, kh, kw, sy, sx), (down, right, groups), channels, outputs, same, depthwise, dtype)| {
            let groups = if depthwise { 1 } else { groups };
            // What fits without padding.
            let most = |size: usize, dilation: usize| (size - 1) / dilation + 1;
            Geometry {
                size: [height, width],
                channels: if groups > 1 { channels.div_ceil(2) * groups } else { channels },
                outputs: if depthwise { outputs % 3 + 1 } else { outputs.div_ceil(groups) * groups },
                kernel: if same { [kh, kw] } else { [kh.min(most(height, down)), kw.min(most(width, right))] },
                stride: [sy, sx],
                dilation: [down, right],
                groups,
                same,
                depthwise,
                dtype,
            }
        },
    )
}

proptest! {
    #[test]
    fn layers_compute_what_loops_compute(geometry in geometry()) {
        let model = geometry.model();
        let inputs = inputs(&model);
        let mut interpreter = Interpreter::with_rounding(&model, Rounding::AsReferenceKernels).unwrap();
        let output = interpreter.run(&inputs).unwrap().remove(0);
        for (code, (sum, bound)) in codes(&output).into_iter().zip(geometry.expected(&model, &inputs[0])) {
            // A step at most where there are steps: half by rounding, little by fixed point.
            let (low, high, close) = match geometry.dtype {
                DType::Float32 => (f64::MIN, f64::MAX, bound),
                DType::Int8 => (-128.0, 127.0, 0.51),
                _ => (0.0, 255.0, 0.51),
            };
            let exact = if geometry.dtype == DType::Float32 { sum } else { sum / f64::from(0.7f32) + 60.0 };
            prop_assert!((code - exact.clamp(low, high)).abs() <= close, "{code} for {exact}");
        }
    }
}
