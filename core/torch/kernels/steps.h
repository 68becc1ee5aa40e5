// Learned steps (Esser et al. 2020, arXiv 1902.08153): what a quantizer trains is the logarithm of
// its step, so that no update makes a step zero or negative and a rate means the same for all of
// them (Jain et al. 2020, arXiv 1903.08066, section 3.2). As core/torch/src/quantizer/learned.rs
// has it.
#pragma once

#include "affine.h"
#include "kernels.h"

// The step of a logarithm: rounded once, so that every executor has the same.
inline float step_of(float log_step) { return float(std::exp(double(log_step))); }

// Values on 2^bits codes, `zero` (learned, rounded) of them below zero. The range is what a file
// holds; the grid is that of the range, as for whoever reads the file.
inline AffineGrid grid_of_step(float log_step, float zero, int64_t bits) {
  const float top = float((int64_t(1) << bits) - 1), step = step_of(log_step);
  const float below = std::nearbyint(std::clamp(zero, 0.0f, top));
  return grid_of_range(-(step * below), step * (top - below), bits);
}

// As weights.cpp: weights of a layer with a step for each bucket, contiguous. Writes Q(w).
void quantize_by_steps(const at::Tensor &source, const at::Tensor &result, const at::Tensor &log_steps, int64_t bits,
                       int64_t bucket_size);
