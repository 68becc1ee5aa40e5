// One optimizer step over all parameters in one call. The gradient is read from `leaves[i]`, which
// for a quantized layer is Q(w) and else w itself: this is the straight-through estimator (Bengio
// et al. 2013, arXiv 1308.3432). `rates[i]` multiplies the learning rate. Gradients are dropped
// after use.

#include "operators.h"
#include <ATen/Parallel.h>
#include <c10/core/GradMode.h>
#include <cmath>

namespace {

PF_CLONES void sgd_loop(float *__restrict w, const float *__restrict g, float *__restrict m, int64_t n, float rate,
                        float momentum, float decay, int nesterov) {
  for (int64_t i = 0; i < n; i++) {
    const float grad = g[i] + decay * w[i];
    m[i] = momentum * m[i] + grad;
    w[i] -= rate * (nesterov ? grad + momentum * m[i] : m[i]);
  }
}

PF_CLONES void adam_loop(float *__restrict w, const float *__restrict g, float *__restrict m, float *__restrict v, int64_t n,
                         float rate, float beta1, float beta2, float eps, float correction2, float decay) {
  for (int64_t i = 0; i < n; i++) {
    const float grad = g[i] + decay * w[i];
    m[i] = beta1 * m[i] + (1.0f - beta1) * grad;
    v[i] = beta2 * v[i] + (1.0f - beta2) * grad * grad;
    w[i] -= rate * m[i] / (std::sqrt(v[i]) / correction2 + eps);
  }
}

// `update` changes a run of a parameter on the CPU, `whole` a parameter elsewhere.
template <typename F, typename G>
void each_parameter(tensor *params, tensor *leaves, int64_t count, const F &update, const G &whole) {
  c10::NoGradGuard no_grad;
  for (int64_t t = 0; t < count; t++) {
    at::Tensor &grad = leaves[t]->mutable_grad();
    if (!grad.defined()) continue;
    if (by_operators(*params[t])) {
      whole(t, grad);
      grad = at::Tensor();
      continue;
    }
    const at::Tensor dense = grad.contiguous();
    TORCH_CHECK(params[t]->is_contiguous(), "an optimizer takes contiguous parameters");
    float *w = params[t]->data_ptr<float>();
    const float *g = dense.data_ptr<float>();
    at::parallel_for(0, dense.numel(), 1 << 16, [&](int64_t begin, int64_t end) { update(t, begin, end - begin, w + begin, g + begin); });
    grad = at::Tensor();
  }
}

} // namespace

extern "C" char *pf_sgd_step(tensor *params, tensor *leaves, tensor *momenta, const double *decays, const double *rates,
                             int64_t count, double rate, double momentum, int nesterov) {
  return guarded([&] {
    each_parameter(params, leaves, count, [&](int64_t t, int64_t offset, int64_t n, float *w, const float *g) {
      sgd_loop(w, g, momenta[t]->data_ptr<float>() + offset, n, float(rate * rates[t]), float(momentum), float(decays[t]), nesterov);
    }, [&](int64_t t, const at::Tensor &grad) {
      sgd_by_operators(*params[t], grad, *momenta[t], rate * rates[t], momentum, decays[t], nesterov);
    });
  });
}

// `step` counts from 1. Kingma & Ba 2014 (arXiv 1412.6980), algorithm 1, with its bias corrections.
extern "C" char *pf_adam_step(tensor *params, tensor *leaves, tensor *first, tensor *second, const double *decays,
                              const double *rates, int64_t count, double rate, double beta1, double beta2, double eps, int64_t step) {
  return guarded([&] {
    const double correction1 = 1.0 - std::pow(beta1, double(step)), correction2 = std::sqrt(1.0 - std::pow(beta2, double(step)));
    each_parameter(params, leaves, count, [&](int64_t t, int64_t offset, int64_t n, float *w, const float *g) {
      adam_loop(w, g, first[t]->data_ptr<float>() + offset, second[t]->data_ptr<float>() + offset, n,
                float(rate * rates[t] / correction1), float(beta1), float(beta2), float(eps), float(correction2), float(decays[t]));
    }, [&](int64_t t, const at::Tensor &grad) {
      adam_by_operators(*params[t], grad, *first[t], *second[t], rate * rates[t] / correction1, beta1, beta2, eps, correction2, decays[t]);
    });
  });
}
