// What batch normalisation, sum, activation function and quantizers of one node are, however they
// are computed.
#pragma once

#include "affine.h"
#include "kernels.h"
#include "steps.h"

enum Activation { NONE = 0, RELU = 1, RELU6 = 2 };

// The quantizer of an activation, and what it has seen: `range` is [minimum, maximum, batches]. One
// that is learned has no range but the logarithm of its step, maybe a zero point (in codes), and
// the factor on the gradients of both.
struct Quantizer {
  at::Tensor range;
  int64_t bits = 0;
  bool track = false;
  double decay = 0.0;
  at::Tensor log_step, zero;
  double factor = 1.0;

  bool learned() const { return log_step.defined() && bits > 0; }
  float *state() const { return range.defined() ? range.data_ptr<float>() : nullptr; }
  bool tracked() const { return range.defined() && track; }
  bool quantizes() const { return range.defined() && bits > 0; }
  bool unseen() const { return range.defined() && state()[2] == 0.0f; }
  void set(float min, float max) const {
    state()[0] = min;
    state()[1] = max;
  }
  // A plain mean over the first batches, then a moving average.
  void update(float min, float max) const {
    float *now = state();
    const double keep = std::min(decay, double(now[2]) / (double(now[2]) + 1.0));
    set(float(keep * now[0] + (1.0 - keep) * min), float(keep * now[1] + (1.0 - keep) * max));
    now[2] = std::min(now[2] + 1.0f, 1.0e6f);
  }
  AffineGrid grid() const {
    if (learned()) return grid_of_step(*log_step.data_ptr<float>(), zero.defined() ? *zero.data_ptr<float>() : 0.0f, bits);
    return grid_of_range(state()[0], state()[1], bits);
  }
};

struct Settings {
  bool training;
  double momentum, eps;
  int act;
  at::Tensor running_mean, running_var;
  Quantizer outer, inner;
};
