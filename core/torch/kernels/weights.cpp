// Q(x) of all quantized layers in one call. Bit for bit the arithmetic of `pocketflow::quant` (core/src/quant.rs): in f32 up to
// 16 bits, above in f64; no contraction, rounding to even.

#include "kernels.h"
#include <ATen/Parallel.h>
#include <c10/core/GradMode.h>
#include <cmath>
#include <limits>

namespace {

constexpr float ROUND = 12582912.0f; // see norm_act.cpp

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

void quantize_bucket(const float *x, float *q, int64_t n, int64_t bits) {
  float min, max;
  range_of(x, n, min, max);
  const float alpha = max - min;
  const int64_t top = (int64_t(1) << bits) - 1;
  if (!(alpha > 0.0f) || !std::isfinite(alpha)) {
    // Constant, or no numbers: as it is, so that a NaN shows in the loss.
    std::memcpy(q, x, n * sizeof(float));
  } else if (bits <= 16) {
    quantize_narrow(x, q, n, alpha, min, float(top));
  } else {
    quantize_wide(x, q, n, alpha, min, double(top));
  }
}

} // namespace

// sources and results: `count` tensors, contiguous, of the same shapes pairwise.
extern "C" char *pf_quantize_weights(tensor *sources, tensor *results, const int64_t *bits, const int64_t *bucket_sizes,
                                     int64_t count) {
  return guarded([&] {
    c10::NoGradGuard no_grad;
    for (int64_t t = 0; t < count; t++) {
      const at::Tensor &source = *sources[t], &result = *results[t];
      TORCH_CHECK(source.is_contiguous() && result.is_contiguous() && source.numel() == result.numel(),
                  "quantize_weights takes contiguous tensors of one shape");
      const float *x = source.data_ptr<float>();
      float *q = result.data_ptr<float>();
      const int64_t n = source.numel(), size = bucket_sizes[t];
      const int64_t buckets = (n + size - 1) / size;
      at::parallel_for(0, buckets, std::max<int64_t>(1, 16384 / size), [&](int64_t begin, int64_t end) {
        for (int64_t b = begin; b < end; b++)
          quantize_bucket(x + b * size, q + b * size, std::min(size, n - b * size), bits[t]);
      });
    }
  });
}
