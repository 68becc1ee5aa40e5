//! The fused kernel against the same function composed of libtorch's own operators: values, gradients, running statistics, ranges.

use pocketflow_torch::kernels::{Act, ActQuantizer, Norm, norm_act};
use tch::{Device, Kind, Tensor};

const EPS: f64 = 1e-5;

struct Case {
    shape: [i64; 4],
    norm: bool,
    residual: bool,
    act: Act,
    bits: u32,
    training: bool,
}

fn leaf(shape: &[i64], scale: f64, shift: f64) -> Tensor {
    (Tensor::randn(shape, (Kind::Float, Device::Cpu)) * scale + shift).set_requires_grad(true)
}

fn copy(tensor: &Tensor) -> Tensor {
    tensor.detach().copy().set_requires_grad(true)
}

/// The straight-through estimator, composed: Q(x) in the forward pass, the identity in the backward pass.
fn quantized(x: &Tensor, max: f64, bits: u32) -> Tensor {
    let top = f64::from((1u32 << bits) - 1);
    let value = ((x.detach() * (top / max)).clamp_max(top).round() * (max / top)) - x.detach();
    x + value
}

fn close(what: &str, ours: &Tensor, theirs: &Tensor, tolerance: f64) {
    let difference = (ours - theirs).abs().max().double_value(&[]);
    let size = theirs.abs().max().double_value(&[]).max(1.0);
    assert!(difference <= tolerance * size, "{what}: off by {difference:e} of {size}");
}

fn check(case: &Case) {
    tch::manual_seed(7);
    let channels = case.shape[1];
    let x = leaf(&case.shape, 2.0, 0.7);
    let (scale, shift) = (leaf(&[channels], 0.5, 1.0), leaf(&[channels], 0.3, 0.1));
    let residual = leaf(&case.shape, 1.0, 0.0);
    let [mean, var] = [0.2, 1.5].map(|value| Tensor::full([channels], value, (Kind::Float, Device::Cpu)));
    let (their_mean, their_var) = (mean.copy(), var.copy());
    let max = if case.act == Act::Relu6 { 6.0f32 } else { 3.0 };
    let range = Tensor::from_slice(&[max, 1e6]);

    let ours: Vec<Tensor> = [&x, &scale, &shift, &residual].map(copy).into();
    let norm =
        Norm { scale: &ours[1], shift: &ours[2], running_mean: &mean, running_var: &var, eps: EPS, momentum: 0.1 };
    let quantizer = ActQuantizer { bits: case.bits, range: &range, decay: 0.99, track: false };
    let out = norm_act(
        &ours[0],
        case.norm.then_some(norm),
        case.residual.then_some(&ours[3]),
        case.act,
        (case.bits > 0).then_some(quantizer),
        case.training,
    )
    .unwrap();

    let mut y = x.shallow_clone();
    if case.norm {
        let running = (Some(&their_mean), Some(&their_var));
        y = y.batch_norm(Some(&scale), Some(&shift), running.0, running.1, case.training, 0.1, EPS, false);
    }
    if case.residual {
        y = y.f_add(&residual).unwrap();
    }
    y = match case.act {
        Act::None => y,
        Act::Relu => y.relu(),
        Act::Relu6 => y.clamp(0.0, 6.0),
    };
    if case.bits > 0 {
        y = quantized(&y, max.into(), case.bits);
        if case.act == Act::Relu6 {
            // The gradient ends where the output is at its largest.
            y = y.where_self(&y.lt(6.0), &y.detach());
        }
    }
    let step = if case.bits > 0 { f64::from(max) / f64::from((1u32 << case.bits) - 1) } else { 0.0 };
    // A value on the border of two codes may fall either way; it is a step off, and rare.
    let off = (&out - &y).abs().gt(1e-4).sum(Kind::Float).double_value(&[]);
    assert!(off <= 1e-3 * out.numel() as f64, "{off} values differ");
    close("output", &out, &y, step + 1e-4);

    let weight = Tensor::randn(case.shape, (Kind::Float, Device::Cpu));
    (out * &weight).sum(Kind::Float).backward();
    (y * &weight).sum(Kind::Float).backward();
    close("input gradient", &ours[0].grad(), &x.grad(), 1e-4);
    if case.norm {
        close("scale gradient", &ours[1].grad(), &scale.grad(), 1e-4);
        close("shift gradient", &ours[2].grad(), &shift.grad(), 1e-4);
        close("running mean", &mean, &their_mean, 1e-5);
        close("running variance", &var, &their_var, 1e-5);
    }
    if case.residual {
        close("residual gradient", &ours[3].grad(), &residual.grad(), 1e-5);
    }
}

#[test]
fn equals_the_composed_function() {
    for shape in [[4, 16, 9, 7], [3, 5, 6, 6], [2, 300, 4, 3], [1, 1, 5, 5]] {
        for act in [Act::None, Act::Relu, Act::Relu6] {
            for (norm, residual) in [(true, false), (true, true), (false, false), (false, true)] {
                for training in [true, false] {
                    for bits in if act == Act::None { vec![0] } else { vec![0, 1, 4, 8] } {
                        check(&Case { shape, norm, residual, act, bits, training });
                    }
                }
            }
        }
    }
}

#[test]
fn a_block_larger_than_one_is_summed_right() {
    check(&Case { shape: [64, 16, 32, 32], norm: true, residual: true, act: Act::Relu, bits: 4, training: true });
}

#[test]
fn ranges_follow_the_maximum() {
    let range = Tensor::from_slice(&[0.0f32, 0.0]);
    for (max, expected) in [(2.0, 2.0), (4.0, 3.0), (6.0, 4.0)] {
        let x = Tensor::from_slice(&[-1.0f32, 0.5, max, 1.0]).view([1, 1, 2, 2]);
        let quantizer = ActQuantizer { bits: 8, range: &range, decay: 0.99, track: true };
        let _out = norm_act(&x, None, None, Act::Relu, Some(quantizer), true).unwrap();
        assert!((range.double_value(&[0]) - expected).abs() < 1e-6, "plain mean over the first batches");
    }
    let frozen = ActQuantizer { bits: 8, range: &range, decay: 0.99, track: false };
    let x = Tensor::from_slice(&[100.0f32; 4]).view([1, 1, 2, 2]);
    let out = norm_act(&x, None, None, Act::Relu, Some(frozen), false).unwrap();
    assert!((out.max().double_value(&[]) - 4.0).abs() < 1e-6, "beyond the range is clipped to it");
}

#[test]
fn many_bits_change_nothing_visible_and_no_number_stays_none() {
    let x = Tensor::from_slice(&[0.1f32, 0.7, 2.0, f32::NAN]).view([1, 1, 2, 2]);
    let range = Tensor::from_slice(&[2.0f32, 1.0]);
    for bits in [8, 24, 31] {
        let quantizer = ActQuantizer { bits, range: &range, decay: 0.99, track: false };
        let out = norm_act(&x, None, None, Act::Relu, Some(quantizer), false).unwrap();
        let values = Vec::<f32>::try_from(out.view([-1])).unwrap();
        assert!((values[1] - 0.7).abs() < 0.004 && values[3].is_nan(), "{values:?}");
    }
}

#[test]
fn a_wrong_shape_is_an_error() {
    let x = Tensor::zeros([2, 3], (Kind::Float, Device::Cpu));
    let message = norm_act(&x, None, None, Act::Relu, None, false).unwrap_err().to_string();
    assert!(message.contains("[n, c, h, w]"), "{message}");
}
