#include "operators.h"
#include <ATen/autocast_mode.h>
#include <torch/csrc/autograd/custom_function.h>

namespace {

thread_local bool operators_only = false;

// The value on a grid; the gradient goes straight through (Bengio et al. 2013, arXiv 1308.3432).
class OnGrid : public torch::autograd::Function<OnGrid> {
public:
  static at::Tensor forward(torch::autograd::AutogradContext *, const at::Tensor &v, const AffineGrid &grid, int64_t bits) {
    // Codes of more than 16 bits are exact in double only, as in norm_act_loops.h.
    if (bits > 16)
      return v.to(at::kDouble).div(double(grid.scale)).clamp(grid.lo, grid.hi).round().mul(double(grid.scale)).to(at::kFloat);
    return v.mul(double(grid.inverse())).clamp(grid.lo, grid.hi).round().mul(double(grid.scale));
  }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext *, torch::autograd::variable_list grads) {
    return {grads[0], {}, {}};
  }
};

// The value on a grid whose step is learned. With u = v / s and Qn codes below zero, Qp above:
// dQ/ds is round(u) - u within the grid, -Qn and Qp beyond its ends; dQ/dv is 1 within and 0
// beyond; dQ/dQn is -s beyond either end (Esser et al. 2020, arXiv 1902.08153; Bhalgat et al. 2020,
// arXiv 2004.09576).
class OnLearnedGrid : public torch::autograd::Function<OnLearnedGrid> {
public:
  static at::Tensor forward(torch::autograd::AutogradContext *ctx, const at::Tensor &v, const at::Tensor &log_step,
                            const std::optional<at::Tensor> &zero, int64_t bits, double factor) {
    const double top = double((int64_t(1) << bits) - 1);
    const at::Tensor step = log_step.to(at::kDouble).exp().to(at::kFloat);
    const at::Tensor below = zero ? zero->clamp(0.0, top).round() : at::zeros_like(step);
    // The scale of the range that the file holds, as affine.h has it.
    const at::Tensor min = step * below, max = step * (below.neg() + top);
    const at::Tensor scale = ((max.to(at::kDouble) + min.to(at::kDouble)) / top).to(at::kFloat);
    const at::Tensor codes = v * scale.to(at::kDouble).reciprocal().to(at::kFloat);
    ctx->save_for_backward({codes, scale, below});
    ctx->saved_data["top"] = top;
    ctx->saved_data["factor"] = factor;
    ctx->saved_data["zero"] = zero.has_value();
    return codes.maximum(-below).minimum(below.neg() + top).round() * scale;
  }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext *ctx,
                                                 torch::autograd::variable_list grads) {
    const auto saved = ctx->get_saved_variables();
    const at::Tensor &codes = saved[0], &scale = saved[1], &below = saved[2], &g = grads[0];
    const double top = ctx->saved_data["top"].toDouble(), factor = ctx->saved_data["factor"].toDouble();
    const at::Tensor highest = below.neg() + top;
    const at::Tensor inside = codes.ge(-below).logical_and(codes.le(highest));
    const at::Tensor slope = codes.round().sub(codes).where(inside, codes.maximum(-below).minimum(highest));
    const at::Tensor step = ((g * slope).sum().to(at::kDouble) * scale * factor).to(at::kFloat);
    at::Tensor zero;
    if (ctx->saved_data["zero"].toBool()) zero = ((g * inside.logical_not()).sum() * scale * -factor).to(at::kFloat);
    return {g * inside, step, zero, {}, {}};
  }
};

// Quantizes as the range tracked so far says, the first batch by its own, and tracks the range;
// zero is always in it.
at::Tensor quantized(const Quantizer &quantizer, const at::Tensor &v) {
  if (quantizer.learned()) return learned_by_operators(quantizer, v);
  if (!quantizer.range.defined()) return v;
  float min = 0.0f, max = 0.0f;
  if (quantizer.tracked()) {
    const auto [low, high] = at::aminmax(v.detach());
    min = std::min(0.0f, low.item<float>());
    max = std::max(0.0f, high.item<float>());
    if (quantizer.quantizes() && quantizer.unseen()) quantizer.set(min, max);
  }
  std::optional<AffineGrid> grid;
  if (quantizer.quantizes() && !(quantizer.unseen() && !quantizer.track)) grid = quantizer.grid();
  if (quantizer.tracked()) quantizer.update(min, max);
  return grid ? OnGrid::apply(v, *grid, quantizer.bits) : v;
}

} // namespace

bool by_operators(const at::Tensor &t) { return operators_only || !t.is_cpu(); }

at::Tensor learned_by_operators(const Quantizer &quantizer, const at::Tensor &v) {
  const auto zero = quantizer.zero.defined() ? std::optional<at::Tensor>(quantizer.zero) : std::nullopt;
  return OnLearnedGrid::apply(v, quantizer.log_step, zero, quantizer.bits, quantizer.factor);
}

at::Tensor norm_act_by_operators(const at::Tensor &x, const at::Tensor &gamma, const at::Tensor &beta, const at::Tensor &residual,
                                 const Settings &s) {
  at::Tensor v = x;
  if (gamma.defined()) v = at::batch_norm(v, gamma, beta, s.running_mean, s.running_var, s.training, s.momentum, s.eps, true);
  // Ranges and grids are of full-precision values, whatever mixed precision computes in.
  const bool quantizes = s.inner.range.defined() || s.outer.range.defined() || s.inner.learned() || s.outer.learned();
  if (quantizes) v = v.to(at::kFloat);
  v = quantized(s.inner, v);
  if (residual.defined()) v = v + residual;
  if (s.act == RELU) v = at::relu(v);
  if (s.act == RELU6) v = at::hardtanh(v, 0.0, 6.0);
  return quantized(s.outer, v);
}

void quantize_by_operators(const at::Tensor &x, at::Tensor q, int64_t bits, int64_t bucket_size) {
  const at::Tensor buckets = x.view({-1, bucket_size});
  const double top = double((int64_t(1) << bits) - 1);
  const auto [min, max] = at::aminmax(buckets, 1, true);
  const at::Tensor alpha = max - min;
  const at::Tensor codes = ((buckets - min) / alpha * top).round().clamp_max(top);
  // Constant, or no numbers: as it is.
  const at::Tensor usable = alpha.gt(0.0).logical_and(alpha.isfinite());
  q.copy_(at::where(usable, codes / top * alpha + min, buckets).view(x.sizes()));
}

void sgd_by_operators(at::Tensor w, const at::Tensor &grad, at::Tensor m, double rate, double momentum, double decay, bool nesterov) {
  const at::Tensor g = grad.add(w, decay);
  m.mul_(momentum).add_(g);
  w.sub_(nesterov ? g.add(m, momentum) : m, rate);
}

void adam_by_operators(at::Tensor w, const at::Tensor &grad, at::Tensor m, at::Tensor v, double rate, double beta1, double beta2,
                       double eps, double correction2, double decay) {
  const at::Tensor g = grad.add(w, decay);
  m.mul_(beta1).add_(g, 1.0 - beta1);
  v.mul_(beta2).addcmul_(g, g, 1.0 - beta2);
  w.addcdiv_(m, v.sqrt().div_(correction2).add_(eps), -rate);
}

// Has the calling thread's work done by operators on the CPU too.
extern "C" void pf_operators_only(int on) { operators_only = on != 0; }

// Convolutions and matrix products of the calling thread on a GPU in 16 bits (bfloat16, of float's
// range, so that losses need no scaling); what needs more stays in 32.
extern "C" char *pf_mixed_precision(int on, int *before) {
  return guarded([&] {
    *before = at::autocast::is_autocast_enabled(at::kCUDA);
    at::autocast::set_autocast_enabled(at::kCUDA, on != 0);
    at::autocast::set_autocast_dtype(at::kCUDA, at::kBFloat16);
    // Casts of weights are kept for the length of a pass only: the optimizer changes them in place.
    if (!on) at::autocast::clear_cache();
  });
}
