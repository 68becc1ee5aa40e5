// Batch normalisation, residual sum, activation function and fake quantization in one pass over memory, as one autograd
// function. A quantized step is as fast as a full-precision one only if quantization adds no pass of its own, so:
//  - the forward pass quantizes with the range tracked so far and takes the batch's maximum on the way;
//  - the backward pass needs no mask: an inactive output is stored as -0.0, an active one that rounds to zero as +0.0.
// Images are channels_last, `[n, h, w, c]` in memory: a matrix of rows of c channels. Constants per channel are repeated to a
// period of at least 256 values, so that loops run over long contiguous stretches whatever c is.
// Sums are taken per block of fixed size, then over blocks in order: results do not depend on the number of threads.

#include "kernels.h"
#include <ATen/Parallel.h>
#include <algorithm>
#include <torch/csrc/autograd/custom_function.h>
#include <vector>

namespace {

enum Activation { NONE = 0, RELU = 1, RELU6 = 2 };

constexpr int64_t PERIOD = 256;
constexpr int64_t PERIODS_PER_BLOCK = 32;
// Adding and subtracting 1.5 * 2^23 rounds to even; valid for codes below 2^22, so for up to 16 bits.
constexpr float ROUND = 12582912.0f;

int64_t period_of(int64_t channels) { return (PERIOD + channels - 1) / channels * channels; }

std::vector<float> repeat(const std::vector<float> &values, int64_t period) {
  std::vector<float> repeated(period);
  for (int64_t i = 0; i < period; i++) repeated[i] = values[i % values.size()];
  return repeated;
}

// y = act(x * a + b (+ residual)), quantized to `top` steps of `max`; returns the maximum before quantization.
template <bool RESIDUAL, bool QUANTIZE>
inline __attribute__((always_inline)) float forward_loop(const float *__restrict x, const float *__restrict residual,
                                                         float *__restrict y, const float *__restrict a,
                                                         const float *__restrict b, int64_t n, float clip, float inverse,
                                                         float step, float top) {
  float largest = 0.0f;
#pragma omp simd reduction(max : largest)
  for (int64_t i = 0; i < n; i++) {
    float v = x[i] * a[i] + b[i];
    if (RESIDUAL) v += residual[i];
    largest = v > largest ? v : largest;
    float w = v > clip ? clip : v;
    if (QUANTIZE) {
      float code = w * inverse;
      code = code > top ? top : code;
      w = ((code + ROUND) - ROUND) * step;
    }
    y[i] = v <= 0.0f ? -0.0f : w;
  }
  return largest;
}

struct Forward {
  const float *x, *residual;
  float *y;
  const float *a, *b;
  float clip, inverse, step, top;
};

PF_CLONES float forward_block(const Forward &f, int64_t offset, int64_t n) {
  const float *x = f.x + offset, *residual = f.residual + offset;
  float *y = f.y + offset;
  const bool quantize = f.inverse > 0.0f;
  if (f.residual)
    return quantize ? forward_loop<true, true>(x, residual, y, f.a, f.b, n, f.clip, f.inverse, f.step, f.top)
                    : forward_loop<true, false>(x, residual, y, f.a, f.b, n, f.clip, 0, 0, 0);
  return quantize ? forward_loop<false, true>(x, nullptr, y, f.a, f.b, n, f.clip, f.inverse, f.step, f.top)
                  : forward_loop<false, false>(x, nullptr, y, f.a, f.b, n, f.clip, 0, 0, 0);
}

// More than 16 bits: in double, where codes are exact.
float forward_wide(const Forward &f, int64_t offset, int64_t n, double max, double top) {
  float largest = 0.0f;
  for (int64_t i = 0; i < n; i++) {
    float v = f.x[offset + i] * f.a[i] + f.b[i];
    if (f.residual) v += f.residual[offset + i];
    largest = v > largest ? v : largest;
    double w = v > f.clip ? f.clip : v;
    double code = std::nearbyint(std::min(w / max, 1.0) * top);
    f.y[offset + i] = v <= 0.0f ? -0.0f : std::isnan(v) ? v : float(code / top * max);
  }
  return largest;
}

PF_CLONES void affine_block(const float *__restrict x, float *__restrict y, const float *__restrict a,
                            const float *__restrict b, int64_t n) {
  for (int64_t i = 0; i < n; i++) y[i] = x[i] * a[i] + b[i];
}

PF_CLONES void sum_block(const float *__restrict x, float *__restrict sums, int64_t n) {
  for (int64_t i = 0; i < n; i++) sums[i] += x[i];
}

PF_CLONES void square_block(const float *__restrict x, const float *__restrict mean, float *__restrict sums, int64_t n) {
  for (int64_t i = 0; i < n; i++) {
    float d = x[i] - mean[i];
    sums[i] += d * d;
  }
}

// The gradient that the activation function lets through.
template <int ACT> inline __attribute__((always_inline)) float let_through(float grad, float y) {
  int32_t bits;
  std::memcpy(&bits, &y, sizeof bits);
  bool pass = bits >= 0;
  if (ACT == RELU6) pass = pass && y < 6.0f;
  return ACT == NONE ? grad : (pass ? grad : 0.0f);
}

template <int ACT, bool KEEP>
inline __attribute__((always_inline)) void backward_sums_loop(const float *__restrict grad, const float *__restrict y,
                                                              const float *__restrict x, const float *__restrict mean,
                                                              float *__restrict kept, float *__restrict sum_g,
                                                              float *__restrict sum_gx, int64_t n) {
  for (int64_t i = 0; i < n; i++) {
    float g = let_through<ACT>(grad[i], y[i]);
    if (KEEP) kept[i] = g;
    sum_g[i] += g;
    sum_gx[i] += g * (x[i] - mean[i]);
  }
}

#define PF_BY_ACT(act, CALL)                                                                                                 \
  switch (act) {                                                                                                             \
  case RELU: CALL(RELU); break;                                                                                              \
  case RELU6: CALL(RELU6); break;                                                                                            \
  default: CALL(NONE);                                                                                                       \
  }

PF_CLONES void backward_sums(int act, const float *grad, const float *y, const float *x, const float *mean, float *kept,
                             float *sum_g, float *sum_gx, int64_t n) {
#define CALL(ACT)                                                                                                            \
  if (kept) backward_sums_loop<ACT, true>(grad, y, x, mean, kept, sum_g, sum_gx, n);                                         \
  else backward_sums_loop<ACT, false>(grad, y, x, mean, nullptr, sum_g, sum_gx, n)
  PF_BY_ACT(act, CALL)
#undef CALL
}

template <int ACT>
inline __attribute__((always_inline)) void backward_input_loop(const float *__restrict grad, const float *__restrict y,
                                                               const float *__restrict x, float *__restrict dx,
                                                               const float *__restrict a, const float *__restrict k1,
                                                               const float *__restrict k0, int64_t n) {
  for (int64_t i = 0; i < n; i++) dx[i] = let_through<ACT>(grad[i], y[i]) * a[i] + (x[i] * k1[i] + k0[i]);
}

PF_CLONES void backward_input(int act, const float *grad, const float *y, const float *x, float *dx, const float *a,
                              const float *k1, const float *k0, int64_t n) {
#define CALL(ACT) backward_input_loop<ACT>(grad, y, x, dx, a, k1, k0, n)
  PF_BY_ACT(act, CALL)
#undef CALL
}

template <int ACT>
inline __attribute__((always_inline)) void mask_loop(const float *__restrict grad, const float *__restrict y,
                                                     float *__restrict out, const float *__restrict a, int64_t n) {
  for (int64_t i = 0; i < n; i++) out[i] = let_through<ACT>(grad[i], y[i]) * a[i];
}

PF_CLONES void mask_block(int act, const float *grad, const float *y, float *out, const float *a, int64_t n) {
#define CALL(ACT) mask_loop<ACT>(grad, y, out, a, n)
  PF_BY_ACT(act, CALL)
#undef CALL
}

// How a tensor is cut: `count` values in blocks, blocks in periods; every period starts at channel 0.
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

// Mean and biased variance of each channel: two passes over each block while it is in cache, blocks merged after Chan et al.
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

struct Settings {
  bool training, track;
  double momentum, eps;
  int act, bits;
  double range_decay;
  at::Tensor running_mean, running_var, range;
};

typedef std::optional<at::Tensor> Optional;

// The transformation of a whole tensor; `range` is [maximum, batches seen].
float transform(Forward f, const Cut &cut, const Settings &s, double max) {
  const double top = double((int64_t(1) << s.bits) - 1);
  const bool quantize = s.bits > 0 && max > 0.0;
  f.clip = s.act == RELU6 ? 6.0f : std::numeric_limits<float>::infinity();
  f.inverse = quantize ? float(top / max) : 0.0f;
  f.step = quantize ? float(max / top) : 0.0f;
  f.top = float(top);
  std::vector<float> largest(cut.blocks, 0.0f);
  cut.each_block([&](int64_t block, int64_t from, int64_t to) {
    cut.each_period(from, to, [&](int64_t offset, int64_t n) {
      float m = quantize && s.bits > 16 ? forward_wide(f, offset, n, max, top) : forward_block(f, offset, n);
      largest[block] = std::max(largest[block], m);
    });
  });
  const float all = *std::max_element(largest.begin(), largest.end());
  return s.act == RELU6 ? std::min(all, 6.0f) : all;
}

class NormAct : public torch::autograd::Function<NormAct> {
public:
  // Arguments that may be absent are optional: autograd takes no undefined tensors.
  static at::Tensor forward(torch::autograd::AutogradContext *ctx, const at::Tensor &input, const Optional &gamma_input,
                            const Optional &beta_input, const Optional &residual_input, const Settings &s) {
    const at::Tensor x = channels_last(input);
    const at::Tensor gamma = gamma_input.value_or(at::Tensor()), beta = beta_input.value_or(at::Tensor());
    const at::Tensor residual = residual_input ? channels_last(*residual_input) : at::Tensor();
    const at::Tensor &running_mean = s.running_mean, &running_var = s.running_var, &range = s.range;
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
    Forward f{x.data_ptr<float>(), residual_data, y.data_ptr<float>(), as.data(), bs.data(), 0, 0, 0, 0};
    if (s.act == NONE) {
      cut.each_block([&](int64_t, int64_t from, int64_t to) {
        cut.each_period(from, to, [&](int64_t o, int64_t n) { affine_block(f.x + o, f.y + o, f.a, f.b, n); });
      });
      if (residual_data) y.add_(residual);
    } else {
      float *tracked = range.defined() ? range.data_ptr<float>() : nullptr;
      if (s.bits > 0 && tracked && tracked[1] == 0.0f && s.track) {
        // The first batch: its maximum is taken before it is quantized.
        Settings plain = s;
        plain.bits = 0;
        tracked[0] = transform(f, cut, plain, 0.0);
      }
      const float largest = transform(f, cut, s, tracked ? tracked[0] : 0.0);
      if (tracked && s.track) {
        const float seen = tracked[1];
        // A plain mean over the first batches, then a moving average.
        const double keep = std::min(s.range_decay, double(seen) / (double(seen) + 1.0));
        tracked[0] = float(keep * tracked[0] + (1.0 - keep) * largest);
        tracked[1] = std::min(seen + 1.0f, 1.0e6f);
      }
    }
    auto options = x.options();
    auto keep = [&](const std::vector<float> &values) {
      at::Tensor t = at::empty({int64_t(values.size())}, options);
      std::copy(values.begin(), values.end(), t.data_ptr<float>());
      return t;
    };
    ctx->save_for_backward({x, y, keep(floats(mean)), keep(inverse_std), keep(a)});
    ctx->saved_data["act"] = int64_t(s.act);
    ctx->saved_data["norm"] = norm;
    ctx->saved_data["training"] = s.training && norm;
    ctx->saved_data["residual"] = residual.defined();
    return y;
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext *ctx,
                                                 torch::autograd::variable_list grads) {
    auto saved = ctx->get_saved_variables();
    const at::Tensor &x = saved[0], &y = saved[1], &mean = saved[2], &inverse_std = saved[3], &a = saved[4];
    const int act = int(ctx->saved_data["act"].toInt());
    const bool norm = ctx->saved_data["norm"].toBool(), training = ctx->saved_data["training"].toBool();
    const bool has_residual = ctx->saved_data["residual"].toBool();
    const at::Tensor grad = channels_last(grads[0]);
    const int64_t channels = x.size(1);
    const Cut cut(x.numel(), channels);
    auto vector = [](const at::Tensor &t) { return std::vector<float>(t.data_ptr<float>(), t.data_ptr<float>() + t.numel()); };
    const std::vector<float> means = vector(mean), stds = vector(inverse_std), scale = vector(a);
    const std::vector<float> as = repeat(scale, cut.period);
    const float *g = grad.data_ptr<float>(), *out = y.data_ptr<float>(), *in = x.data_ptr<float>();

    at::Tensor dres, dx = at::empty_like(x), dgamma, dbeta;
    if (has_residual) dres = act == NONE ? grad : at::empty_like(x);
    float *kept = has_residual && act != NONE ? dres.data_ptr<float>() : nullptr;
    const std::vector<float> ones(cut.period, 1.0f);
    if (!norm) {
      cut.each_block([&](int64_t, int64_t from, int64_t to) {
        cut.each_period(from, to, [&](int64_t o, int64_t n) {
          mask_block(act, g + o, out + o, dx.data_ptr<float>() + o, ones.data(), n);
        });
      });
      if (has_residual) dres = dx;
      return {dx, {}, {}, dres, {}};
    }

    const std::vector<float> centres = repeat(means, cut.period);
    std::vector<double> partial(cut.blocks * channels * 2, 0.0);
    cut.each_block([&](int64_t block, int64_t from, int64_t to) {
      std::vector<float> sum_g(cut.period, 0.0f), sum_gx(cut.period, 0.0f);
      cut.each_period(from, to, [&](int64_t o, int64_t n) {
        backward_sums(act, g + o, out + o, in + o, centres.data(), kept ? kept + o : nullptr, sum_g.data(), sum_gx.data(), n);
      });
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
    const int mask = kept ? int(NONE) : act;
    const float *source = kept ? kept : g;
    cut.each_block([&](int64_t, int64_t from, int64_t to) {
      cut.each_period(from, to, [&](int64_t o, int64_t n) {
        backward_input(mask, source + o, out + o, in + o, dx.data_ptr<float>() + o, as.data(), k1s.data(), k0s.data(), n);
      });
    });
    return {dx, dgamma, dbeta, dres, {}};
  }
};

} // namespace

// gamma … running_var null: no normalisation. residual null: no sum. range null: no tracking, no quantization.
// act: 0 none, 1 ReLU, 2 ReLU6. bits 0: no quantization.
extern "C" char *pf_norm_act(tensor x, tensor gamma, tensor beta, tensor running_mean, tensor running_var, tensor residual,
                             tensor range, int training, int track, double momentum, double eps, int act, int bits,
                             double range_decay, tensor *out) {
  return guarded([&] {
    TORCH_CHECK(x->is_cpu() && x->scalar_type() == at::kFloat && x->dim() == 4, "norm_act takes [n, c, h, w] floats on the CPU");
    TORCH_CHECK(x->numel() > 0, "norm_act: an empty batch");
    TORCH_CHECK(!residual || residual->sizes() == x->sizes(), "norm_act: the residual has another shape");
    const Settings settings{training != 0, track != 0, momentum, eps, act, bits, range_decay, tensor_or_undefined(running_mean),
                            tensor_or_undefined(running_var), tensor_or_undefined(range)};
    auto optional = [](tensor t) { return t ? Optional(*t) : Optional(); };
    at::Tensor y = NormAct::apply(*x, optional(gamma), optional(beta), optional(residual), settings);
    *out = new at::Tensor(y);
  });
}
