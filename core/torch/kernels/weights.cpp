// Q(x) of all quantized layers in one call. Bit for bit the arithmetic of `pocketflow::quant`
// (core/src/quant.rs): in f32 up to 16 bits, above in f64; no contraction, rounding to even.
//
// A layer that a batch normalisation follows is deployed as W * s with s = gamma / sqrt(running
// variance + eps) by output channel (core/src/fold.rs), so there the quantized weights are Q(W * s)
// / s: they are used before the batch normalisation, which multiplies by s.

#include "affine.h"
#include "operators.h"
#include "steps.h"
#include <ATen/Parallel.h>
#include <c10/core/GradMode.h>
#include <vector>

namespace {

enum Grid { MIN_MAX = 0, SYMMETRIC = 1, AFFINE = 2 };

// A channel that its batch normalisation scales by less is as good as off: dividing by the scale
// would give no weights to train.
constexpr double SMALLEST_FOLD = 1e-10;

PF_CLONES void range_of(const float *__restrict x, int64_t n, float &min, float &max) {
  float low = std::numeric_limits<float>::infinity(), high = -low;
#pragma omp simd reduction(min : low) reduction(max : high)
  for (int64_t i = 0; i < n; i++) {
    low = x[i] < low ? x[i] : low;
    high = x[i] > high ? x[i] : high;
  }
  min = low;
  max = high;
}

PF_CLONES void quantize_narrow(const float *__restrict x, float *__restrict q, int64_t n, float alpha, float beta, float top) {
  for (int64_t i = 0; i < n; i++) {
    float code = ((x[i] - beta) / alpha * top + ROUND) - ROUND;
    code = code > top ? top : code;
    q[i] = code / top * alpha + beta;
  }
}

void quantize_wide(const float *x, float *q, int64_t n, double alpha, double beta, double top) {
  for (int64_t i = 0; i < n; i++) {
    double code = std::nearbyint((double(x[i]) - beta) / alpha * top);
    code = code > top ? top : code;
    q[i] = float(code / top * alpha + beta);
  }
}

PF_CLONES void quantize_affine(const float *__restrict x, float *__restrict q, int64_t n, float scale, float lo, float hi) {
  for (int64_t i = 0; i < n; i++) q[i] = ((within(x[i] / scale, lo, hi) + ROUND) - ROUND) * scale;
}

void quantize_bucket(const float *x, float *q, int64_t n, int64_t bits, int64_t grid) {
  float min, max;
  range_of(x, n, min, max);
  const float alpha = max - min;
  const int64_t top = (int64_t(1) << bits) - 1;
  if (!std::isfinite(alpha) || (grid == MIN_MAX && !(alpha > 0.0f))) {
    // Constant, or no numbers: as it is, so that a NaN shows in the loss.
    std::memcpy(q, x, n * sizeof(float));
  } else if (grid != MIN_MAX) {
    const AffineGrid affine = grid_of_weights(min, max, grid == SYMMETRIC, bits);
    quantize_affine(x, q, n, affine.scale, float(affine.lo), float(affine.hi));
  } else if (bits <= 16) {
    quantize_narrow(x, q, n, alpha, min, float(top));
  } else {
    quantize_wide(x, q, n, alpha, min, double(top));
  }
}

PF_CLONES void fold(const float *__restrict x, float *__restrict folded, int64_t n, double scale) {
  for (int64_t i = 0; i < n; i++) folded[i] = float(double(x[i]) * scale);
}

PF_CLONES void unfold(float *__restrict q, int64_t n, double scale) {
  for (int64_t i = 0; i < n; i++) q[i] = float(double(q[i]) / scale);
}

// The bucket of weights `from` to `to`; every `run` weights belong to one channel.
void quantize_folded(const float *x, float *q, int64_t from, int64_t to, int64_t run, const std::vector<double> &scales,
                     int64_t bits, int64_t grid) {
  std::vector<float> folded(to - from);
  auto each_channel = [&](auto &&f) {
    for (int64_t i = from; i < to;) {
      const int64_t channel = i / run, end = std::min(to, (channel + 1) * run);
      f(i, end - i, scales[channel]);
      i = end;
    }
  };
  each_channel([&](int64_t i, int64_t n, double scale) { fold(x + i, folded.data() + (i - from), n, scale); });
  quantize_bucket(folded.data(), q + from, to - from, bits, grid);
  each_channel([&](int64_t i, int64_t n, double scale) {
    if (std::abs(scale) < SMALLEST_FOLD) std::memcpy(q + i, x + i, n * sizeof(float));
    else unfold(q + i, n, scale);
  });
}

} // namespace

// As in kernels.rs. `bits` 0: q = w. `gamma` and `variance` null: not folded. `log_steps` null: the
// grid is that of the range.
struct WeightJob {
  tensor source, result, gamma, variance, log_steps;
  double eps;
  int64_t bits, bucket_size, grid;
};

namespace {

void quantize_on_cpu(const WeightJob &job, const at::Tensor &source, const at::Tensor &result) {
  const float *x = source.data_ptr<float>();
  float *q = result.data_ptr<float>();
  const int64_t n = source.numel(), size = job.bucket_size, bits = job.bits, grid = job.grid;
  std::vector<double> scales;
  if (job.gamma) {
    const at::Tensor gamma = job.gamma->cpu(), variance = job.variance->cpu();
    const int64_t channels = gamma.numel();
    TORCH_CHECK(channels > 0 && variance.numel() == channels && n % channels == 0,
                "quantize_weights: the batch normalisation has other channels than the layer");
    for (int64_t c = 0; c < channels; c++)
      scales.push_back(double(gamma.data_ptr<float>()[c]) / std::sqrt(double(variance.data_ptr<float>()[c]) + job.eps));
  }
  const int64_t buckets = (n + size - 1) / size;
  at::parallel_for(0, buckets, std::max<int64_t>(1, 16384 / size), [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; b++) {
      const int64_t from = b * size, to = std::min(n, from + size);
      if (scales.empty()) quantize_bucket(x + from, q + from, to - from, bits, grid);
      else quantize_folded(x, q, from, to, n / int64_t(scales.size()), scales, bits, grid);
    }
  });
}

} // namespace

// Sources and results are contiguous, of the same shapes pairwise.
extern "C" char *pf_quantize_weights(const WeightJob *jobs, int64_t count) {
  return guarded([&] {
    c10::NoGradGuard no_grad;
    for (const WeightJob *job = jobs; job < jobs + count; job++) {
      const at::Tensor &source = *job->source, &result = *job->result;
      TORCH_CHECK(source.is_contiguous() && result.is_contiguous() && source.numel() == result.numel(),
                  "quantize_weights takes contiguous tensors of one shape");
      if (job->bits == 0) {
        result.copy_(source);
      } else if (job->log_steps) {
        quantize_by_steps(source, result, *job->log_steps, job->bits, job->bucket_size);
      } else if (!by_operators(source)) {
        quantize_on_cpu(*job, source, result);
      } else if (job->grid == MIN_MAX && job->bits <= 16 && source.numel() % job->bucket_size == 0) {
        quantize_by_operators(source, result, job->bits, job->bucket_size);
      } else {
        // What operators would take many passes for goes by way of the CPU; the weights of a layer
        // are small.
        const at::Tensor here = source.cpu().contiguous(), quantized = at::empty_like(here);
        quantize_on_cpu(*job, here, quantized);
        result.copy_(quantized);
      }
    }
  });
}
