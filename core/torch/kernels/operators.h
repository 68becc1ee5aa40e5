// The kernels out of libtorch's own operators: for tensors that are not on the CPU, where no loop
// of ours can go.
#pragma once

#include "norm_act.h"

// Whether a tensor's work is done by operators. Tests ask for them on the CPU, to compare the two.
bool by_operators(const at::Tensor &t);

// As norm_act.cpp: outer(act(inner(norm(x)) + residual)), with its gradient.
at::Tensor norm_act_by_operators(const at::Tensor &x, const at::Tensor &gamma, const at::Tensor &beta, const at::Tensor &residual,
                                 const Settings &s);

// As the learned quantizer has it (steps.h), with the gradients of value, step and zero point.
at::Tensor learned_by_operators(const Quantizer &quantizer, const at::Tensor &v);

// Q(x) on the grid of minimum and maximum, for buckets that divide the tensor and at most 16 bits;
// bit for bit as weights.cpp.
void quantize_by_operators(const at::Tensor &x, at::Tensor q, int64_t bits, int64_t bucket_size);

// As optimizers.cpp; m and v are the optimizer's state.
void sgd_by_operators(at::Tensor w, const at::Tensor &grad, at::Tensor m, double rate, double momentum, double decay, bool nesterov);
void adam_by_operators(at::Tensor w, const at::Tensor &grad, at::Tensor m, at::Tensor v, double rate, double beta1, double beta2,
                       double eps, double correction2, double decay);
