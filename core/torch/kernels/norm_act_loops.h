// The loops of norm_act.cpp, each over a contiguous stretch of at most a period.
#pragma once

#include "affine.h"
#include "norm_act.h"

namespace {

// Smallest and largest value seen, zero included: of the result, and of what a quantizer before the
// sum sees.
struct Extremes {
  float min = 0.0f, max = 0.0f, inner_min = 0.0f, inner_max = 0.0f;
  void include(const Extremes &other) {
    min = std::min(min, other.min);
    max = std::max(max, other.max);
    inner_min = std::min(inner_min, other.inner_min);
    inner_max = std::max(inner_max, other.inner_max);
  }
};

// A grid of up to 16 bits, as the loops use it.
struct Steps {
  float inverse = 0.0f, lo = 0.0f, hi = 0.0f, scale = 0.0f;
  // A call would keep the loops from being vectorized.
  inline __attribute__((always_inline)) float at(float v) const { return ((within(v * inverse, lo, hi) + ROUND) - ROUND) * scale; }
};

struct Forward {
  const float *x, *residual;
  float *y;
  const float *a, *b;
  float clip;
  int act;
  // Quantizers of the result, and of what is added to the residual.
  const AffineGrid *outer, *inner;
  // Whether the range of the inner one is wanted.
  bool inner_tracked;
};

// y = Q(act(Q_inner(x * a + b) + residual)). The extremes are taken before each quantizer.
template <bool RECTIFY, bool RESIDUAL, bool QUANTIZE, bool INNER>
inline __attribute__((always_inline)) Extremes forward_loop(const float *__restrict x, const float *__restrict residual,
                                                            float *__restrict y, const float *__restrict a,
                                                            const float *__restrict b, int64_t n, float clip, Steps outer,
                                                            Steps inner) {
  float largest = 0.0f, smallest = 0.0f, inner_largest = 0.0f, inner_smallest = 0.0f;
  const bool inner_on = inner.inverse > 0.0f;
#pragma omp simd reduction(max : largest, inner_largest) reduction(min : smallest, inner_smallest)
  for (int64_t i = 0; i < n; i++) {
    float v = x[i] * a[i] + b[i];
    if (INNER) {
      inner_largest = v > inner_largest ? v : inner_largest;
      inner_smallest = v < inner_smallest ? v : inner_smallest;
      v = inner_on ? inner.at(v) : v;
    }
    if (RESIDUAL) v += residual[i];
    largest = v > largest ? v : largest;
    if (!RECTIFY) smallest = v < smallest ? v : smallest;
    float w = RECTIFY && v > clip ? clip : v;
    if (QUANTIZE) w = outer.at(w);
    y[i] = RECTIFY && v <= 0.0f ? -0.0f : w;
  }
  return {smallest, largest, inner_smallest, inner_largest};
}

inline Steps steps_of(const AffineGrid *grid) {
  return grid ? Steps{grid->inverse(), float(grid->lo), float(grid->hi), grid->scale} : Steps{};
}

PF_CLONES Extremes forward_block(const Forward &f, int64_t offset, int64_t n) {
  const float *x = f.x + offset, *residual = f.residual ? f.residual + offset : nullptr;
  float *y = f.y + offset;
  const Steps outer = steps_of(f.outer), inner = steps_of(f.inner);
#define CALL(RECTIFY, RESIDUAL, QUANTIZE, INNER)                                                                             \
  forward_loop<RECTIFY, RESIDUAL, QUANTIZE, INNER>(x, residual, y, f.a, f.b, n, f.clip, outer, inner)
#define BY_INNER(RECTIFY, RESIDUAL, QUANTIZE)                                                                                \
  (f.inner || f.inner_tracked ? CALL(RECTIFY, RESIDUAL, QUANTIZE, true) : CALL(RECTIFY, RESIDUAL, QUANTIZE, false))
#define BY_OUTER(RECTIFY, RESIDUAL) (f.outer ? BY_INNER(RECTIFY, RESIDUAL, true) : BY_INNER(RECTIFY, RESIDUAL, false))
#define BY_RESIDUAL(RECTIFY) (residual ? BY_OUTER(RECTIFY, true) : BY_OUTER(RECTIFY, false))
  return f.act == NONE ? BY_RESIDUAL(false) : BY_RESIDUAL(true);
#undef BY_RESIDUAL
#undef BY_OUTER
#undef BY_INNER
#undef CALL
}

// Grids of more than 16 bits: in double, where codes are exact.
Extremes forward_wide(const Forward &f, int64_t offset, int64_t n) {
  auto at = [](const AffineGrid *grid, double v) {
    if (!grid || std::isnan(v)) return v;
    return std::nearbyint(std::clamp(v / double(grid->scale), grid->lo, grid->hi)) * double(grid->scale);
  };
  Extremes seen;
  for (int64_t i = 0; i < n; i++) {
    float v = f.x[offset + i] * f.a[i] + f.b[i];
    seen.include({0.0f, 0.0f, v, v});
    v = float(at(f.inner, v));
    if (f.residual) v += f.residual[offset + i];
    seen.include({v, v, 0.0f, 0.0f});
    const float w = f.act != NONE && v > f.clip ? f.clip : v;
    f.y[offset + i] = f.act != NONE && v <= 0.0f ? -0.0f : float(at(f.outer, w));
  }
  return seen;
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

// The gradient that the activation function lets through. Where y is 0 or less is told by its sign;
// whether ReLU6 clipped it is not told by y, which the quantizer moves onto 6 from below, and from
// 6 to the end of a shorter range: it is asked of v, what the function was given.
template <int ACT> inline __attribute__((always_inline)) float let_through(float grad, float y, float v) {
  int32_t bits;
  std::memcpy(&bits, &y, sizeof bits);
  bool pass = bits >= 0;
  if (ACT == RELU6) pass = pass && v < 6.0f;
  return ACT == NONE ? grad : (pass ? grad : 0.0f);
}

// What the backward loops read: the gradient, result and input of the node, and by channel its
// slope and offset, of which v = x * a + b.
struct Backward {
  int act;
  const float *grad, *y, *x;
  const float *a, *b;
  Backward at(int64_t offset) const { return {act, grad + offset, y + offset, x + offset, a, b}; }
};

template <int ACT> inline __attribute__((always_inline)) float gradient(const Backward &f, int64_t i) {
  return let_through<ACT>(f.grad[i], f.y[i], ACT == RELU6 ? f.x[i] * f.a[i] + f.b[i] : 0.0f);
}

template <int ACT, bool KEEP>
inline __attribute__((always_inline)) void backward_sums_loop(Backward f, const float *__restrict mean, float *__restrict kept,
                                                              float *__restrict sum_g, float *__restrict sum_gx, int64_t n) {
  for (int64_t i = 0; i < n; i++) {
    float g = gradient<ACT>(f, i);
    if (KEEP) kept[i] = g;
    sum_g[i] += g;
    sum_gx[i] += g * (f.x[i] - mean[i]);
  }
}

#define PF_BY_ACT(act, CALL)                                                                                                 \
  switch (act) {                                                                                                             \
  case RELU: CALL(RELU); break;                                                                                              \
  case RELU6: CALL(RELU6); break;                                                                                            \
  default: CALL(NONE);                                                                                                       \
  }

PF_CLONES void backward_sums(const Backward &f, const float *mean, float *kept, float *sum_g, float *sum_gx, int64_t n) {
#define CALL(ACT)                                                                                                            \
  if (kept) backward_sums_loop<ACT, true>(f, mean, kept, sum_g, sum_gx, n);                                                  \
  else backward_sums_loop<ACT, false>(f, mean, nullptr, sum_g, sum_gx, n)
  PF_BY_ACT(f.act, CALL)
#undef CALL
}

template <int ACT>
inline __attribute__((always_inline)) void backward_input_loop(Backward f, float *__restrict dx, const float *__restrict k1,
                                                               const float *__restrict k0, int64_t n) {
  for (int64_t i = 0; i < n; i++) dx[i] = gradient<ACT>(f, i) * f.a[i] + (f.x[i] * k1[i] + k0[i]);
}

PF_CLONES void backward_input(const Backward &f, float *dx, const float *k1, const float *k0, int64_t n) {
#define CALL(ACT) backward_input_loop<ACT>(f, dx, k1, k0, n)
  PF_BY_ACT(f.act, CALL)
#undef CALL
}

template <int ACT> inline __attribute__((always_inline)) void mask_loop(Backward f, float *__restrict out, int64_t n) {
  for (int64_t i = 0; i < n; i++) out[i] = gradient<ACT>(f, i);
}

PF_CLONES void mask_block(const Backward &f, float *out, int64_t n) {
#define CALL(ACT) mask_loop<ACT>(f, out, n)
  PF_BY_ACT(f.act, CALL)
#undef CALL
}

// What the backward loops of a learned quantizer read. Nothing of the result: all of it follows
// from v = x * a + b + residual.
struct Learned {
  int act;
  const float *grad, *x, *residual;
  const float *a, *b;
  Steps grid;
  Learned at(int64_t offset) const { return {act, grad + offset, x + offset, residual ? residual + offset : nullptr, a, b, grid}; }
};

// Of one value: the gradient that reaches v, and what the step and the ends of the grid get.
struct Shares {
  float value, slope, beyond;
};

template <int ACT, bool RESIDUAL> inline __attribute__((always_inline)) Shares shares(const Learned &f, int64_t i) {
  const float v = f.x[i] * f.a[i] + f.b[i] + (RESIDUAL ? f.residual[i] : 0.0f);
  const float grad = ACT != NONE && v <= 0.0f ? 0.0f : f.grad[i];
  const float u = (ACT == RELU6 && v > 6.0f ? 6.0f : v) * f.grid.inverse;
  const bool below = u < f.grid.lo, above = u > f.grid.hi, out = below || above;
  const float slope = below ? f.grid.lo : above ? f.grid.hi : ((u + ROUND) - ROUND) - u;
  return {out || (ACT == RELU6 && v >= 6.0f) ? 0.0f : grad, grad * slope, out ? grad : 0.0f};
}

// Where the sums of a period go, of each value on its own.
struct LearnedSums {
  float *g, *gx, *slope, *beyond;
};

template <int ACT, bool RESIDUAL, bool SUMS, bool KEEP>
inline __attribute__((always_inline)) void learned_loop(Learned f, const float *__restrict mean, float *__restrict kept,
                                                        float *__restrict g, float *__restrict gx, float *__restrict slope,
                                                        float *__restrict beyond, int64_t n) {
  for (int64_t i = 0; i < n; i++) {
    const Shares share = shares<ACT, RESIDUAL>(f, i);
    if (KEEP) kept[i] = share.value;
    if (SUMS) {
      g[i] += share.value;
      gx[i] += share.value * (f.x[i] - mean[i]);
    }
    slope[i] += share.slope;
    beyond[i] += share.beyond;
  }
}

// The sums over a period; with `kept` the gradient of every v too. Without `sums.g` only those of
// the quantizer.
PF_CLONES void learned_sums(const Learned &f, const float *mean, float *kept, const LearnedSums &sums, int64_t n) {
#define LOOP(ACT, RESIDUAL, SUMS, KEEP)                                                                                      \
  learned_loop<ACT, RESIDUAL, SUMS, KEEP>(f, mean, kept, sums.g, sums.gx, sums.slope, sums.beyond, n)
#define BY_KEPT(ACT, RESIDUAL)                                                                                               \
  if (!sums.g) LOOP(ACT, RESIDUAL, false, true);                                                                             \
  else if (kept) LOOP(ACT, RESIDUAL, true, true);                                                                            \
  else LOOP(ACT, RESIDUAL, true, false)
#define CALL(ACT)                                                                                                            \
  if (f.residual) {                                                                                                          \
    BY_KEPT(ACT, true);                                                                                                      \
  } else {                                                                                                                   \
    BY_KEPT(ACT, false);                                                                                                     \
  }
  PF_BY_ACT(f.act, CALL)
#undef CALL
#undef BY_KEPT
#undef LOOP
}

template <int ACT>
inline __attribute__((always_inline)) void learned_input_loop(Learned f, float *__restrict dx, const float *__restrict k1,
                                                              const float *__restrict k0, int64_t n) {
  for (int64_t i = 0; i < n; i++) dx[i] = shares<ACT, false>(f, i).value * f.a[i] + (f.x[i] * k1[i] + k0[i]);
}

// As backward_input, where there is no residual.
PF_CLONES void learned_input(const Learned &f, float *dx, const float *k1, const float *k0, int64_t n) {
#define CALL(ACT) learned_input_loop<ACT>(f, dx, k1, k0, n)
  PF_BY_ACT(f.act, CALL)
#undef CALL
}

} // namespace
