// Weights with learned steps: Q(w) = s round(clip(w / s, -Qn, Qp)) with Qn = 2^(k-1), Qp = Qn - 1,
// and the gradients of w and of log s out of that of Q(w), all layers in one call after the
// backward pass (Esser et al. 2020, arXiv 1902.08153, equations 1 to 3). Bit for bit the arithmetic
// of `pocketflow::quant::decode` on alpha = s (2^k - 1), beta = -s Qn: what is trained with is what
// the file holds.

#include "steps.h"
#include "operators.h"
#include <ATen/Parallel.h>
#include <c10/core/GradMode.h>
#include <vector>

namespace {

// The grid of a bucket.
struct Bucket {
  float step, alpha, beta, top, lowest, highest;
  Bucket(float log_step, int64_t bits) {
    const int64_t below = int64_t(1) << (bits - 1);
    step = step_of(log_step);
    top = float(2 * below - 1), lowest = -float(below), highest = float(below - 1);
    alpha = step * top, beta = step * lowest;
  }
};

PF_CLONES void quantize_loop(const float *__restrict w, float *__restrict q, int64_t n, Bucket b) {
  for (int64_t i = 0; i < n; i++) {
    const float code = ((within(w[i] / b.step, b.lowest, b.highest) + ROUND) - ROUND) - b.lowest;
    q[i] = code / b.top * b.alpha + b.beta;
  }
}

// Leaves in g what the clipping lets through, and returns the sum of g dQ/ds.
PF_CLONES double gradient_loop(const float *__restrict w, float *__restrict g, int64_t n, Bucket b) {
  double sum = 0.0;
#pragma omp simd reduction(+ : sum)
  for (int64_t i = 0; i < n; i++) {
    const float u = w[i] / b.step;
    const bool below = u < b.lowest, above = u > b.highest;
    const float slope = below ? b.lowest : above ? b.highest : ((u + ROUND) - ROUND) - u;
    sum += double(g[i] * slope);
    g[i] = below || above ? 0.0f : g[i];
  }
  return sum;
}

template <typename F> void each_bucket(int64_t n, int64_t size, const F &f) {
  at::parallel_for(0, (n + size - 1) / size, std::max<int64_t>(1, 16384 / size), [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; b++) f(b, b * size, std::min(n, (b + 1) * size));
  });
}

// A value of each bucket for each of its weights, in the shape of the weights.
at::Tensor spread(const at::Tensor &values, const at::Tensor &like, int64_t size) {
  return values.repeat_interleave(size).narrow(0, 0, like.numel()).view(like.sizes());
}

at::Tensor steps_of(const at::Tensor &log_steps) { return log_steps.to(at::kDouble).exp().to(at::kFloat); }

void gradients_by_operators(const at::Tensor &w, at::Tensor g, const at::Tensor &log_steps, at::Tensor out, int64_t bits,
                            int64_t size, double factor) {
  const double below = double(int64_t(1) << (bits - 1));
  const at::Tensor steps = steps_of(log_steps), u = w / spread(steps, w, size);
  const at::Tensor inside = u.ge(-below).logical_and(u.le(below - 1.0));
  const at::Tensor slope = u.round().sub(u).where(inside, u.clamp(-below, below - 1.0));
  const int64_t buckets = steps.numel(), missing = buckets * size - w.numel();
  const at::Tensor products = at::constant_pad_nd((g * slope).flatten().to(at::kDouble), {0, missing});
  out.copy_((products.view({buckets, size}).sum(1) * steps * factor).to(at::kFloat));
  g.mul_(inside);
}

} // namespace

void quantize_by_steps(const at::Tensor &source, const at::Tensor &result, const at::Tensor &log_steps, int64_t bits,
                       int64_t bucket_size) {
  const int64_t n = source.numel();
  TORCH_CHECK(bits >= 2 && bits <= 16, "learned steps take 2 to 16 bits");
  TORCH_CHECK(log_steps.numel() == (n + bucket_size - 1) / bucket_size, "a step for each bucket is needed");
  if (by_operators(source)) {
    const double below = double(int64_t(1) << (bits - 1)), top = 2.0 * below - 1.0;
    const at::Tensor steps = steps_of(log_steps);
    const at::Tensor codes = (source / spread(steps, source, bucket_size)).clamp(-below, below - 1.0).round() + below;
    result.copy_(codes / top * spread(steps * top, source, bucket_size) - spread(steps * below, source, bucket_size));
    return;
  }
  const float *w = source.data_ptr<float>(), *logs = log_steps.data_ptr<float>();
  float *q = result.data_ptr<float>();
  each_bucket(n, bucket_size, [&](int64_t b, int64_t from, int64_t to) {
    quantize_loop(w + from, q + from, to - from, Bucket(logs[b], bits));
  });
}

// As in kernels/steps.rs. `leaf` holds the gradient of Q(w).
struct StepJob {
  tensor weights, leaf, log_steps;
  int64_t bits, bucket_size;
  double factor;
};

// Turns the gradient of each Q(w) into that of w, in place, and gives log s its own, times the
// job's factor. Jobs without a gradient are passed over.
extern "C" char *pf_step_gradients(const StepJob *jobs, int64_t count) {
  return guarded([&] {
    c10::NoGradGuard no_grad;
    for (const StepJob *job = jobs; job < jobs + count; job++) {
      at::Tensor &grad = job->leaf->mutable_grad();
      if (!grad.defined()) continue;
      grad = grad.contiguous();
      const at::Tensor &w = *job->weights, &log_steps = *job->log_steps;
      TORCH_CHECK(w.is_contiguous() && w.numel() == grad.numel(), "step_gradients takes contiguous weights");
      at::Tensor out = at::empty_like(log_steps);
      if (by_operators(w)) {
        gradients_by_operators(w, grad, log_steps, out, job->bits, job->bucket_size, job->factor);
      } else {
        const float *weights = w.data_ptr<float>(), *logs = log_steps.data_ptr<float>();
        float *g = grad.data_ptr<float>(), *result = out.data_ptr<float>();
        each_bucket(w.numel(), job->bucket_size, [&](int64_t b, int64_t from, int64_t to) {
          const Bucket bucket(logs[b], job->bits);
          result[b] = float(gradient_loop(weights + from, g + from, to - from, bucket) * double(bucket.step) * job->factor);
        });
      }
      job->log_steps->mutable_grad() = out;
    }
  });
}
