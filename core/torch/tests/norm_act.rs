//! The fused kernel against the same function composed of libtorch's own operators: values,
//! gradients, running statistics, ranges.

use pocketflow::affine::Affine;
use pocketflow_torch::kernels::{Act, ActQuantizer, Fused, Norm, fake_quantize, norm_act};
use proptest::prelude::*;
use tch::{Device, Kind, Tensor};

const EPS: f64 = 1e-5;

#[derive(Debug)]
struct Case {
    shape: [i64; 4],
    norm: bool,
    residual: bool,
    act: Act,
    bits: u32,
    /// Of the quantizer before the sum.
    inner_bits: u32,
    training: bool,
}

fn leaf(shape: &[i64], scale: f64, shift: f64) -> Tensor {
    (Tensor::randn(shape, (Kind::Float, Device::Cpu)) * scale + shift).set_requires_grad(true)
}

fn copy(tensor: &Tensor) -> Tensor {
    tensor.detach().copy().set_requires_grad(true)
}

/// The straight-through estimator, composed: Q(x) in the forward pass, the identity in the backward
/// pass.
fn quantized(x: &Tensor, range: [f32; 2], bits: u32) -> Tensor {
    let grid = Affine::of_range(range, bits);
    let (scale, zero) = (f64::from(grid.scale), f64::from(grid.zero_point));
    let codes = (x.detach() / scale).round().clamp(-zero, f64::from(grid.max_code) - zero);
    x + (codes * scale - x.detach())
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
    let range: [f32; 2] = match case.act {
        Act::None => [-2.2, 3.0],
        Act::Relu => [0.0, 3.0],
        Act::Relu6 => [0.0, 6.0],
    };
    // No simple multiple of the other, or many values lie on the border of two codes.
    let inner_range = [-3.1f32, 2.0371];
    let states = [range, inner_range].map(|[min, max]| Tensor::from_slice(&[min, max, 1e6]));

    let ours: Vec<Tensor> = [&x, &scale, &shift, &residual].map(copy).into();
    let norm =
        Norm { scale: &ours[1], shift: &ours[2], running_mean: &mean, running_var: &var, eps: EPS, momentum: 0.1 };
    let quantizer = |bits, range| (bits > 0).then_some(ActQuantizer { bits, range, decay: 0.99, track: false });
    let fused = Fused {
        norm: case.norm.then_some(norm),
        residual: case.residual.then_some(&ours[3]),
        outer: quantizer(case.bits, &states[0]),
        learned: None,
        inner: quantizer(case.inner_bits, &states[1]),
        training: case.training,
    };
    let out = norm_act(&ours[0], case.act, &fused).unwrap();

    let mut y = x.shallow_clone();
    if case.norm {
        let running = (Some(&their_mean), Some(&their_var));
        y = y.batch_norm(Some(&scale), Some(&shift), running.0, running.1, case.training, 0.1, EPS, false);
    }
    if case.inner_bits > 0 {
        y = quantized(&y, inner_range, case.inner_bits);
    }
    if case.residual {
        y = y.f_add(&residual).unwrap();
    }
    y = match case.act {
        Act::None => y,
        Act::Relu => y.relu(),
        Act::Relu6 => y.relu().clamp_max(6.0),
    };
    if case.bits > 0 {
        y = quantized(&y, range, case.bits);
    }
    let step_of = |range: [f32; 2], bits| if bits > 0 { f64::from(Affine::of_range(range, bits).scale) } else { 0.0 };
    let step = step_of(range, case.bits) + step_of(inner_range, case.inner_bits);
    // A value on the border of two codes may fall either way; it is a step off, and rare.
    let off = (&out - &y).abs().gt(1e-4).sum(Kind::Float).double_value(&[]);
    assert!(off <= 1.0 + 1e-3 * out.numel() as f64, "{off} values differ: {case:?}");
    close("output", &out, &y, step + 1e-4);

    let weight = Tensor::randn(case.shape, (Kind::Float, Device::Cpu));
    (&out * &weight).sum(Kind::Float).backward();
    (y * &weight).sum(Kind::Float).backward();
    if case.norm {
        close("running mean", &mean, &their_mean, 1e-5);
        close("running variance", &var, &their_var, 1e-5);
    }
    if case.inner_bits > 0 && case.act != Act::None {
        // Where the inner quantizer falls the other way, to zero or not, the gradient passes or
        // not.
        let off = (ours[0].grad() - x.grad()).abs().gt(1e-2).sum(Kind::Float).double_value(&[]);
        assert!(off <= 1.0 + 1e-3 * out.numel() as f64, "{off} gradients differ: {case:?}");
        return;
    }
    close("input gradient", &ours[0].grad(), &x.grad(), 1e-4);
    if case.norm {
        close("scale gradient", &ours[1].grad(), &scale.grad(), 1e-4);
        close("shift gradient", &ours[2].grad(), &shift.grad(), 1e-4);
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
                    for (bits, inner_bits) in [(0, 0), (1, 0), (4, 0), (8, 0), (8, 8), (0, 4), (10, 10)] {
                        check(&Case { shape, norm, residual, act, bits, inner_bits, training });
                    }
                }
            }
        }
    }
}

#[test]
fn a_block_larger_than_one_is_summed_right() {
    let shape = [64, 16, 32, 32];
    check(&Case { shape, norm: true, residual: true, act: Act::Relu, bits: 4, inner_bits: 0, training: true });
    check(&Case { shape, norm: true, residual: true, act: Act::Relu, bits: 8, inner_bits: 8, training: true });
}

#[test]
fn ranges_follow_the_ends() {
    let range = Tensor::from_slice(&[0.0f32, 0.0, 0.0]);
    let quantizer = ActQuantizer { bits: 8, range: &range, decay: 0.99, track: true };
    let state = || Vec::<f32>::try_from(&range).unwrap();
    for (max, expected) in [(2.0, [-1.0, 2.0]), (4.0, [-1.0, 3.0]), (6.0, [-1.0, 4.0])] {
        let x = Tensor::from_slice(&[-1.0f32, 0.5, max, 1.0]).view([1, 1, 2, 2]);
        let _out = fake_quantize(&x, quantizer).unwrap();
        let off = state().iter().zip(expected).map(|(ours, theirs)| (ours - theirs).abs()).fold(0.0, f32::max);
        assert!(off < 1e-6, "plain mean over the first batches: {:?}", state());
    }
    let frozen = ActQuantizer { track: false, ..quantizer };
    let x = Tensor::from_slice(&[100.0f32, -100.0, 0.0, 0.0]).view([1, 1, 2, 2]);
    let out = Vec::<f32>::try_from(fake_quantize(&x, frozen).unwrap().view([-1])).unwrap();
    let [min, max] = Affine::of_range([-1.0, 4.0], 8).ends();
    assert!((out[0] - max).abs() < 1e-5 && (out[1] - min).abs() < 1e-5, "beyond the range is clipped to it: {out:?}");
}

#[test]
fn a_range_holds_zero_and_after_a_relu_begins_there() {
    let x = Tensor::from_slice(&[2.0f32, 3.0, 2.5, 4.0]).view([1, 1, 2, 2]);
    for (act, x, expected) in [
        (Act::None, x.shallow_clone(), [0.0, 4.0, 1.0]),
        (Act::None, -&x, [-4.0, 0.0, 1.0]),
        (Act::Relu, -&x, [0.0, 0.0, 1.0]),
        (Act::Relu6, x * 2, [0.0, 6.0, 1.0]),
    ] {
        let range = Tensor::from_slice(&[0.0f32, 0.0, 0.0]);
        let outer = Some(ActQuantizer { bits: 0, range: &range, decay: 0.99, track: true });
        let out = norm_act(&x, act, &Fused { outer, ..Fused::default() }).unwrap();
        assert_eq!(Vec::<f32>::try_from(&range).unwrap(), expected);
        assert!(act != Act::None || out.equal(&x), "no bits: only tracked");
    }
}

#[test]
fn a_first_batch_settles_both_ranges_before_it_is_quantized() {
    let [x, residual] = [0, 1].map(|_| Tensor::randn([4, 8, 6, 6], (Kind::Float, Device::Cpu)));
    let ranges = [0, 1].map(|_| Tensor::from_slice(&[0.0f32, 0.0, 0.0]));
    let quantizers = |track| {
        let [outer, inner] =
            [0, 1].map(|index: usize| Some(ActQuantizer { bits: 8, range: &ranges[index], decay: 0.99, track }));
        Fused { residual: Some(&residual), outer, inner, ..Fused::default() }
    };
    let first = norm_act(&x, Act::Relu, &quantizers(true)).unwrap();
    assert!(first.equal(&norm_act(&x, Act::Relu, &quantizers(false)).unwrap()));
    assert!((ranges[1].double_value(&[0]) - x.min().double_value(&[])).abs() < 1e-6);
    assert!((ranges[1].double_value(&[1]) - x.max().double_value(&[])).abs() < 1e-6);
    assert!((&first - (x + residual).relu()).abs().max().double_value(&[]) < 0.05);
}

proptest! {
    /// The kernel's grid is core's, up to the code that a value on the border of two takes.
    #[test]
    fn quantizes_onto_the_grid_of_the_definition(
        values in prop::collection::vec(-5.0f32..5.0, 1..600),
        min in -4.0f32..1.0,
        max in -1.0f32..4.0,
        bits in 1u32..=20,
    ) {
        let grid = Affine::of_range([min, max], bits);
        let range = Tensor::from_slice(&[min, max, 1.0]);
        let quantizer = ActQuantizer { bits, range: &range, decay: 0.9, track: false };
        let ours = fake_quantize(&Tensor::from_slice(&values).view([-1, 1]), quantizer).unwrap();
        for (x, ours) in values.iter().zip(Vec::<f32>::try_from(ours.view([-1])).unwrap()) {
            let theirs = grid.decode(grid.encode(*x));
            let border = (((x / grid.scale).fract().abs() - 0.5).abs() as f64) < 1e-6 * f64::from(1 << bits) + 1e-3;
            prop_assert!(ours == theirs || (border && (ours - theirs).abs() <= 1.1 * grid.scale), "{} {} {}", x, ours, theirs);
        }
    }
}

#[test]
fn the_gradient_goes_straight_through() {
    let x = Tensor::from_slice(&[-9.0f32, -0.3, 0.4, 9.0]).view([2, 2]).set_requires_grad(true);
    let range = Tensor::from_slice(&[-1.0f32, 1.0, 1.0]);
    let quantizer = ActQuantizer { bits: 3, range: &range, decay: 0.9, track: false };
    let out = fake_quantize(&x, quantizer).unwrap();
    assert_eq!(out.size(), [2, 2]);
    (out * 3.0).sum(Kind::Float).backward();
    assert!(x.grad().eq(3.0).all().int64_value(&[]) == 1, "also beyond the range: {}", x.grad());
}

#[test]
fn many_bits_change_nothing_visible_and_no_number_stays_none() {
    let x = Tensor::from_slice(&[0.1f32, 0.7, 2.0, f32::NAN]).view([1, 1, 2, 2]);
    let range = Tensor::from_slice(&[0.0f32, 2.0, 1.0]);
    for bits in [8, 24, 31] {
        let outer = Some(ActQuantizer { bits, range: &range, decay: 0.99, track: false });
        let out = norm_act(&x, Act::Relu, &Fused { outer, ..Fused::default() }).unwrap();
        let values = Vec::<f32>::try_from(out.view([-1])).unwrap();
        assert!((values[1] - 0.7).abs() < 0.004 && values[3].is_nan(), "{values:?}");
    }
}

/// With [0, 6] at 1 bit every value from 3 on is 6 once it is quantized, and only those from 6 on
/// are clipped by the activation function; with a range that ends at 4 none of them is 6.
#[test]
fn relu6_ends_the_gradient_where_it_clips_and_not_where_the_grid_ends() {
    let values = [-1.0f32, 0.5, 3.5, 5.9, 6.1, 7.0, 2.9, 4.5];
    for (max, bits) in [(6.0f32, 1), (6.0, 2), (6.0, 8), (4.0, 4)] {
        for residual in [false, true] {
            let x = Tensor::from_slice(&values).view([1, 2, 2, 2]).set_requires_grad(true);
            let zeros = x.zeros_like();
            let range = Tensor::from_slice(&[0.0f32, max, 1e6]);
            let outer = Some(ActQuantizer { bits, range: &range, decay: 0.99, track: false });
            let fused = Fused { outer, residual: residual.then_some(&zeros), ..Fused::default() };
            norm_act(&x, Act::Relu6, &fused).unwrap().sum(Kind::Float).backward();
            let gradient = Vec::<f32>::try_from(x.grad().contiguous().view([-1])).unwrap();
            assert_eq!(gradient, [0.0, 1.0, 1.0, 1.0, 0.0, 0.0, 1.0, 1.0], "range to {max}, {bits} bits");
        }
    }
}

#[test]
fn a_wrong_shape_is_an_error() {
    let x = Tensor::zeros([2, 3], (Kind::Float, Device::Cpu));
    let message = norm_act(&x, Act::Relu, &Fused::default()).unwrap_err().to_string();
    assert!(message.contains("[n, c, h, w]"), "{message}");
}
