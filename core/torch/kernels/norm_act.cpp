// Batch normalisation, residual sum, activation function and fake quantization in one pass over
// memory, as one autograd function. A quantized step is as fast as a full-precision one only if
// quantization adds no pass of its own, so:
//  - the forward pass quantizes with the range tracked so far and takes the batch's range on the
//    way;
//  - the backward pass needs no mask: an inactive output is stored as -0.0, an active one that
//    rounds to zero as +0.0; what ReLU6 clipped it computes again from its input.
// The gradient passes quantizers straight through (Bengio et al. 2013, arXiv 1308.3432), also
// beyond the ends of the range; a learned quantizer (steps.h) ends it there, and its own gradient
// is summed in the same pass as those of the normalisation. Images are channels_last,
// `[n, h, w, c]` in memory: a matrix of rows of c channels. Constants per channel are repeated to a
// period of at least 256 values, so that loops run over long contiguous stretches whatever c is.
// Sums are taken per block of fixed size, then over blocks in order: results do not depend on the
// number of threads.

#include "norm_act_loops.h"
#include "operators.h"
#include <ATen/Parallel.h>
#include <numeric>
#include <torch/csrc/autograd/custom_function.h>
#include <vector>

namespace {

constexpr int64_t PERIOD = 256;
constexpr int64_t PERIODS_PER_BLOCK = 32;

int64_t period_of(int64_t channels) { return (PERIOD + channels - 1) / channels * channels; }

std::vector<float> repeat(const std::vector<float> &values, int64_t period) {
  std::vector<float> repeated(period);
  for (int64_t i = 0; i < period; i++) repeated[i] = values[i % values.size()];
  return repeated;
}

// How a tensor is cut: `count` values in blocks, blocks in periods; every period starts at
// channel 0.
struct Cut {
  int64_t count, channels, period, block, blocks;
  Cut(int64_t count, int64_t channels)
      : count(count), channels(channels), period(period_of(channels)), block(period * PERIODS_PER_BLOCK),
        blocks((count + block - 1) / block) {}
  int64_t rows() const { return count / channels; }
  template <typename F> void each_block(const F &f) const {
    at::parallel_for(0, blocks, 1, [&](int64_t begin, int64_t end) {
      for (int64_t b = begin; b < end; b++) f(b, b * block, std::min(count, (b + 1) * block));
    });
  }
  template <typename F> void each_period(int64_t from, int64_t to, const F &f) const {
    for (int64_t offset = from; offset < to; offset += period) f(offset, std::min(period, to - offset));
  }
  // Adds the sums of a period to those of its channels.
  void fold(const std::vector<float> &sums, double *by_channel) const {
    for (int64_t i = 0; i < period; i++) by_channel[i % channels] += sums[i];
  }
};

// Mean and biased variance of each channel: two passes over each block while it is in cache, blocks
// merged after Chan et al.
void statistics(const float *x, const Cut &cut, std::vector<double> &mean, std::vector<double> &variance) {
  const int64_t c = cut.channels;
  std::vector<double> means(cut.blocks * c), squares(cut.blocks * c);
  cut.each_block([&](int64_t block, int64_t from, int64_t to) {
    std::vector<float> sums(cut.period, 0.0f);
    cut.each_period(from, to, [&](int64_t offset, int64_t n) { sum_block(x + offset, sums.data(), n); });
    double *m = &means[block * c];
    cut.fold(sums, m);
    const double rows = double(to - from) / c;
    std::vector<float> centre(c);
    for (int64_t i = 0; i < c; i++) {
      m[i] /= rows;
      centre[i] = float(m[i]);
    }
    std::vector<float> centres = repeat(centre, cut.period);
    std::fill(sums.begin(), sums.end(), 0.0f);
    cut.each_period(from, to, [&](int64_t offset, int64_t n) { square_block(x + offset, centres.data(), sums.data(), n); });
    cut.fold(sums, &squares[block * c]);
  });
  mean.assign(c, 0.0);
  variance.assign(c, 0.0);
  auto rows_of = [&](int64_t block) { return double(std::min(cut.count, (block + 1) * cut.block) - block * cut.block) / c; };
  for (int64_t b = 0; b < cut.blocks; b++)
    for (int64_t i = 0; i < c; i++) mean[i] += means[b * c + i] * rows_of(b);
  for (int64_t i = 0; i < c; i++) mean[i] /= cut.rows();
  for (int64_t b = 0; b < cut.blocks; b++)
    for (int64_t i = 0; i < c; i++) {
      const double d = means[b * c + i] - mean[i];
      variance[i] += squares[b * c + i] + d * d * rows_of(b);
    }
  for (int64_t i = 0; i < c; i++) variance[i] /= cut.rows();
}

std::vector<float> floats(const std::vector<double> &values) { return {values.begin(), values.end()}; }

at::Tensor channels_last(const at::Tensor &t) { return t.contiguous(at::MemoryFormat::ChannelsLast); }

typedef std::optional<at::Tensor> Optional;

// One pass over a whole tensor, with quantizers or without.
Extremes pass(Forward f, const Cut &cut, const Settings &s, const std::optional<AffineGrid> &outer,
              const std::optional<AffineGrid> &inner) {
  f.outer = outer ? &*outer : nullptr;
  f.inner = inner ? &*inner : nullptr;
  f.inner_tracked = s.inner.tracked();
  const bool wide = (outer && s.outer.bits > 16) || (inner && s.inner.bits > 16);
  std::vector<Extremes> seen(cut.blocks);
  cut.each_block([&](int64_t block, int64_t from, int64_t to) {
    cut.each_period(from, to, [&](int64_t offset, int64_t n) {
      seen[block].include(wide ? forward_wide(f, offset, n) : forward_block(f, offset, n));
    });
  });
  Extremes all;
  for (const Extremes &block : seen) all.include(block);
  if (s.act != NONE) all.min = 0.0f;
  if (s.act == RELU6) all.max = std::min(all.max, 6.0f);
  return all;
}

// The transformation of a whole tensor, and what its quantizers learn from it.
void transform(const Forward &f, const Cut &cut, const Settings &s) {
  std::optional<AffineGrid> outer, inner;
  // The first batch: its range is taken before it is quantized.
  auto settle = [&](const Quantizer &quantizer, std::optional<AffineGrid> &grid, auto &&ends) {
    if (quantizer.learned()) grid = quantizer.grid();
    if (!quantizer.quantizes() || (quantizer.unseen() && !quantizer.track)) return;
    if (quantizer.unseen()) {
      const Extremes first = pass(f, cut, s, outer, inner);
      ends(first);
    }
    grid = quantizer.grid();
  };
  settle(s.inner, inner, [&](const Extremes &first) { s.inner.set(first.inner_min, first.inner_max); });
  settle(s.outer, outer, [&](const Extremes &first) { s.outer.set(first.min, first.max); });
  const Extremes seen = pass(f, cut, s, outer, inner);
  if (s.inner.tracked()) s.inner.update(seen.inner_min, seen.inner_max);
  if (s.outer.tracked()) s.outer.update(seen.min, seen.max);
}

class NormAct : public torch::autograd::Function<NormAct> {
public:
  // Arguments that may be absent are optional: autograd takes no undefined tensors.
  static at::Tensor forward(torch::autograd::AutogradContext *ctx, const at::Tensor &input, const Optional &gamma_input,
                            const Optional &beta_input, const Optional &residual_input, const Optional &,
                            const Optional &, const Settings &s) {
    const at::Tensor x = channels_last(input);
    const at::Tensor gamma = gamma_input.value_or(at::Tensor()), beta = beta_input.value_or(at::Tensor());
    const at::Tensor residual = residual_input ? channels_last(*residual_input) : at::Tensor();
    const at::Tensor &running_mean = s.running_mean, &running_var = s.running_var;
    const int64_t channels = x.size(1);
    const Cut cut(x.numel(), channels);
    at::Tensor y = at::empty_like(x);
    std::vector<double> mean(channels, 0.0), variance(channels, 0.0);
    std::vector<float> inverse_std(channels, 1.0f), a(channels, 1.0f), b(channels, 0.0f);
    const bool norm = gamma.defined();
    if (norm) {
      float *moving_mean = running_mean.data_ptr<float>(), *moving_var = running_var.data_ptr<float>();
      const float *scale = gamma.data_ptr<float>(), *shift = beta.data_ptr<float>();
      if (s.training) {
        statistics(x.data_ptr<float>(), cut, mean, variance);
        const double unbiased = cut.rows() > 1 ? double(cut.rows()) / double(cut.rows() - 1) : 1.0;
        for (int64_t i = 0; i < channels; i++) {
          moving_mean[i] = float((1.0 - s.momentum) * moving_mean[i] + s.momentum * mean[i]);
          moving_var[i] = float((1.0 - s.momentum) * moving_var[i] + s.momentum * variance[i] * unbiased);
        }
      } else {
        for (int64_t i = 0; i < channels; i++) {
          mean[i] = moving_mean[i];
          variance[i] = moving_var[i];
        }
      }
      for (int64_t i = 0; i < channels; i++) {
        inverse_std[i] = float(1.0 / std::sqrt(variance[i] + s.eps));
        a[i] = scale[i] * inverse_std[i];
        b[i] = float(shift[i] - mean[i] * a[i]);
      }
    }
    const std::vector<float> as = repeat(a, cut.period), bs = repeat(b, cut.period);
    const float *residual_data = residual.defined() ? residual.data_ptr<float>() : nullptr;
    const float clip = s.act == RELU6 ? 6.0f : std::numeric_limits<float>::infinity();
    transform({x.data_ptr<float>(), residual_data, y.data_ptr<float>(), as.data(), bs.data(), clip, s.act, nullptr, nullptr, false},
              cut, s);
    auto options = x.options();
    auto keep = [&](const std::vector<float> &values) {
      at::Tensor t = at::empty({int64_t(values.size())}, options);
      std::copy(values.begin(), values.end(), t.data_ptr<float>());
      return t;
    };
    // Without an activation function the output is not looked at again, so it need not be kept; nor
    // with a learned quantizer, which computes it again, and needs the residual for that.
    const bool computes = s.outer.learned();
    ctx->save_for_backward({x, s.act == NONE || computes ? x : y, keep(floats(mean)), keep(inverse_std), keep(a), keep(b),
                            computes && residual.defined() ? residual : x});
    ctx->saved_data["learned"] = s.outer.learned();
    ctx->saved_data["zero"] = s.outer.zero.defined();
    if (s.outer.learned()) {
      const AffineGrid grid = s.outer.grid();
      ctx->saved_data["grid"] = std::vector<double>{double(grid.scale), grid.lo, grid.hi, s.outer.factor};
    }
    ctx->saved_data["act"] = int64_t(s.act);
    ctx->saved_data["norm"] = norm;
    ctx->saved_data["training"] = s.training && norm;
    ctx->saved_data["residual"] = residual.defined();
    return y;
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext *ctx,
                                                 torch::autograd::variable_list grads) {
    auto saved = ctx->get_saved_variables();
    const at::Tensor &x = saved[0], &y = saved[1], &mean = saved[2], &inverse_std = saved[3], &a = saved[4], &b = saved[5];
    const int act = int(ctx->saved_data["act"].toInt());
    const bool norm = ctx->saved_data["norm"].toBool(), training = ctx->saved_data["training"].toBool();
    const bool has_residual = ctx->saved_data["residual"].toBool();
    const at::Tensor grad = channels_last(grads[0]);
    const int64_t channels = x.size(1);
    const Cut cut(x.numel(), channels);
    auto vector = [](const at::Tensor &t) { return std::vector<float>(t.data_ptr<float>(), t.data_ptr<float>() + t.numel()); };
    const std::vector<float> means = vector(mean), stds = vector(inverse_std), scale = vector(a);
    const std::vector<float> as = repeat(scale, cut.period), bs = repeat(vector(b), cut.period);
    const Backward f{act, grad.data_ptr<float>(), y.data_ptr<float>(), x.data_ptr<float>(), as.data(), bs.data()};

    const bool is_learned = ctx->saved_data["learned"].toBool();
    Learned l{act, f.grad, f.x, has_residual ? saved[6].data_ptr<float>() : nullptr, as.data(), bs.data(), {}};
    double factor = 0.0;
    if (is_learned) {
      const std::vector<double> grid = ctx->saved_data["grid"].toDoubleVector();
      const AffineGrid affine{float(grid[0]), grid[1], grid[2]};
      l.grid = steps_of(&affine);
      factor = grid[3] * affine.scale;
    }
    // The sums of slopes and of what lies beyond the ends, by block.
    std::vector<double> of_grid(is_learned ? cut.blocks * 2 : 0, 0.0);
    const bool has_zero = ctx->saved_data["zero"].toBool();
    auto gradients = [&](const at::Tensor &dx, const at::Tensor &dgamma, const at::Tensor &dbeta,
                         const at::Tensor &dres) -> torch::autograd::variable_list {
      if (!is_learned) return {dx, dgamma, dbeta, dres, {}, {}, {}};
      double slope = 0.0, beyond = 0.0;
      for (int64_t b = 0; b < cut.blocks; b++) slope += of_grid[b * 2], beyond += of_grid[b * 2 + 1];
      const at::Tensor step = at::full({1}, slope * factor, x.options());
      return {dx, dgamma, dbeta, dres, step, has_zero ? at::full({1}, -beyond * factor, x.options()) : at::Tensor(), {}};
    };

    const bool masks = act != NONE || is_learned;
    if (!norm && !masks) return gradients(grad, {}, {}, has_residual ? grad : at::Tensor());
    at::Tensor dres, dx = at::empty_like(x), dgamma, dbeta;
    if (has_residual) dres = masks ? at::empty_like(x) : grad;
    float *kept = has_residual && masks ? dres.data_ptr<float>() : nullptr;
    auto total_of = [&](const std::vector<float> &sums) { return std::accumulate(sums.begin(), sums.end(), 0.0); };
    if (!norm) {
      float *out = dx.data_ptr<float>();
      cut.each_block([&](int64_t block, int64_t from, int64_t to) {
        std::vector<float> slope(is_learned ? cut.period : 0, 0.0f), beyond = slope;
        cut.each_period(from, to, [&](int64_t o, int64_t n) {
          if (is_learned) learned_sums(l.at(o), nullptr, out + o, {nullptr, nullptr, slope.data(), beyond.data()}, n);
          else mask_block(f.at(o), out + o, n);
        });
        if (is_learned) of_grid[block * 2] = total_of(slope), of_grid[block * 2 + 1] = total_of(beyond);
      });
      return gradients(dx, {}, {}, has_residual ? dx : at::Tensor());
    }

    const std::vector<float> centres = repeat(means, cut.period);
    std::vector<double> partial(cut.blocks * channels * 2, 0.0);
    cut.each_block([&](int64_t block, int64_t from, int64_t to) {
      std::vector<float> sum_g(cut.period, 0.0f), sum_gx(cut.period, 0.0f);
      std::vector<float> slope(is_learned ? cut.period : 0, 0.0f), beyond = slope;
      cut.each_period(from, to, [&](int64_t o, int64_t n) {
        float *keep = kept ? kept + o : nullptr;
        if (is_learned)
          learned_sums(l.at(o), centres.data(), keep, {sum_g.data(), sum_gx.data(), slope.data(), beyond.data()}, n);
        else backward_sums(f.at(o), centres.data(), keep, sum_g.data(), sum_gx.data(), n);
      });
      if (is_learned) of_grid[block * 2] = total_of(slope), of_grid[block * 2 + 1] = total_of(beyond);
      cut.fold(sum_g, &partial[block * channels * 2]);
      cut.fold(sum_gx, &partial[block * channels * 2 + channels]);
    });
    std::vector<double> total(channels * 2, 0.0);
    for (int64_t b = 0; b < cut.blocks; b++)
      for (int64_t i = 0; i < channels * 2; i++) total[i] += partial[b * channels * 2 + i];

    dgamma = at::empty({channels}, x.options());
    dbeta = at::empty({channels}, x.options());
    std::vector<float> k1(channels, 0.0f), k0(channels, 0.0f);
    for (int64_t i = 0; i < channels; i++) {
      const double sum_g = total[i], sum_gxhat = total[channels + i] * stds[i], rows = double(cut.rows());
      dbeta.data_ptr<float>()[i] = float(sum_g);
      dgamma.data_ptr<float>()[i] = float(sum_gxhat);
      if (training) {
        const double slope = -double(scale[i]) * stds[i] * sum_gxhat / rows;
        k1[i] = float(slope);
        k0[i] = float(-double(scale[i]) * sum_g / rows - slope * means[i]);
      }
    }
    const std::vector<float> k1s = repeat(k1, cut.period), k0s = repeat(k0, cut.period);
    Backward masked = f;
    if (kept) masked.act = NONE, masked.grad = kept;
    cut.each_block([&](int64_t, int64_t from, int64_t to) {
      cut.each_period(from, to, [&](int64_t o, int64_t n) {
        float *out = dx.data_ptr<float>() + o;
        if (is_learned && !kept) learned_input(l.at(o), out, k1s.data(), k0s.data(), n);
        else backward_input(masked.at(o), out, k1s.data(), k0s.data(), n);
      });
    });
    return gradients(dx, dgamma, dbeta, dres);
  }
};

} // namespace

// As in kernels.rs. `bits` 0: the range is tracked, nothing is quantized.
struct QuantizerArgument {
  tensor range, log_step, zero;
  double decay, factor;
  int32_t bits, track;
};

// gamma … running_var null: no normalisation. residual null: no sum. outer, inner null: no
// quantizer of the result, or of what is added to the residual. act: 0 none, 1 ReLU, 2 ReLU6.
extern "C" char *pf_norm_act(tensor x, tensor gamma, tensor beta, tensor running_mean, tensor running_var, tensor residual,
                             const QuantizerArgument *outer, const QuantizerArgument *inner, int training, double momentum,
                             double eps, int act, tensor *out) {
  return guarded([&] {
    TORCH_CHECK(x->dim() == 4, "norm_act takes [n, c, h, w]");
    TORCH_CHECK(x->numel() > 0, "norm_act: an empty batch");
    TORCH_CHECK(!residual || residual->sizes() == x->sizes(), "norm_act: the residual has another shape");
    auto quantizer = [](const QuantizerArgument *q) {
      return q ? Quantizer{tensor_or_undefined(q->range), q->bits, q->track != 0, q->decay, tensor_or_undefined(q->log_step),
                           tensor_or_undefined(q->zero), q->factor}
               : Quantizer{};
    };
    const Settings settings{training != 0, momentum, eps, act, tensor_or_undefined(running_mean), tensor_or_undefined(running_var),
                            quantizer(outer), quantizer(inner)};
    if (by_operators(*x)) {
      *out = new at::Tensor(norm_act_by_operators(*x, tensor_or_undefined(gamma), tensor_or_undefined(beta),
                                                  tensor_or_undefined(residual), settings));
      return;
    }
    TORCH_CHECK(x->scalar_type() == at::kFloat, "norm_act takes floats");
    auto optional = [](tensor t) { return t ? Optional(*t) : Optional(); };
    const at::Tensor &log_step = settings.outer.log_step, &zero = settings.outer.zero;
    auto given = [](const at::Tensor &t) { return t.defined() ? Optional(t) : Optional(); };
    const bool computes = settings.outer.learned();
    if ((act == RELU6 && residual && !computes) || ((act == RELU6 || computes) && inner)) {
      // The backward pass computes again what was clipped: here it would have to keep more for
      // that.
      Settings sum = settings, clip;
      sum.act = NONE, sum.outer = Quantizer{};
      clip = settings, clip.inner = Quantizer{};
      const at::Tensor v = NormAct::apply(*x, optional(gamma), optional(beta), optional(residual), Optional(), Optional(), sum);
      *out = new at::Tensor(NormAct::apply(v, Optional(), Optional(), Optional(), given(log_step), given(zero), clip));
      return;
    }
    *out = new at::Tensor(
        NormAct::apply(*x, optional(gamma), optional(beta), optional(residual), given(log_step), given(zero), settings));
  });
}

// Mean and biased variance of each channel of `[n, c, h, w]`, two tensors `[c]`.
extern "C" char *pf_moments(tensor x, tensor *mean_out, tensor *variance_out) {
  return guarded([&] {
    TORCH_CHECK(x->dim() == 4 && x->numel() > 0, "moments are of [n, c, h, w]");
    if (by_operators(*x)) {
      auto [variance, mean] = at::var_mean(x->to(at::kFloat), at::IntArrayRef({0, 2, 3}), 0);
      *mean_out = new at::Tensor(mean);
      *variance_out = new at::Tensor(variance);
      return;
    }
    const at::Tensor in = channels_last(*x);
    std::vector<double> mean, variance;
    statistics(in.data_ptr<float>(), Cut(in.numel(), in.size(1)), mean, variance);
    auto tensor_of = [&](const std::vector<double> &values) {
      at::Tensor t = at::empty({int64_t(values.size())}, in.options());
      std::copy(values.begin(), values.end(), t.data_ptr<float>());
      return new at::Tensor(t);
    };
    *mean_out = tensor_of(mean);
    *variance_out = tensor_of(variance);
  });
}
