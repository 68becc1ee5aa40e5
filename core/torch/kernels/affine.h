// Affine grids of activations and weights: pocketflow::affine (core/src/affine.rs), operation by
// operation.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

// Adding and subtracting 1.5 * 2^23 rounds to even; valid for codes below 2^22, so for up to 16
// bits.
constexpr float ROUND = 12582912.0f;

// Values scale * k for the whole numbers k from lo to hi; lo <= 0 <= hi.
struct AffineGrid {
  float scale;
  double lo, hi;
  float inverse() const { return float(1.0 / double(scale)); }
};

// A scale that can be divided by: 1 for an empty range.
inline float positive(double scale) {
  const float rounded = float(scale);
  return rounded >= std::numeric_limits<float>::min() && std::isfinite(rounded) ? rounded : 1.0f;
}

inline AffineGrid nudged(float min, float max, int64_t min_code, int64_t max_code) {
  min = std::min(min, 0.0f);
  max = std::max(max, 0.0f);
  const float scale = positive((double(max) - double(min)) / double(max_code - min_code));
  const float zero = std::round(float(min_code) - min / scale);
  const int64_t zero_point = std::min(max_code, int64_t(std::clamp(zero, float(min_code), float(max_code))));
  return {scale, double(min_code - zero_point), double(max_code - zero_point)};
}

// Affine::of_range.
inline AffineGrid grid_of_range(float min, float max, int64_t bits) { return nudged(min, max, 0, (int64_t(1) << bits) - 1); }

// Affine::of_weights.
inline AffineGrid grid_of_weights(float min, float max, bool symmetric, int64_t bits) {
  const int64_t top = (int64_t(1) << bits) - 1;
  if (!symmetric) return nudged(min, max, 1, top);
  const double half = double((top - 1) / 2);
  return {positive(double(std::max(std::abs(min), std::abs(max))) / half), -half, half};
}

// v, or the nearest of its ends where it is beyond them; what is no number stays none.
inline __attribute__((always_inline)) float within(float v, float lo, float hi) {
  v = v > hi ? hi : v;
  return v < lo ? lo : v;
}
