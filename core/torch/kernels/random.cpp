// Random numbers from a generator of one's own: libtorch's default one belongs to the whole
// process, and two trainings that draw from it at once would not repeat.

#include "kernels.h"
#include <ATen/CPUGeneratorImpl.h>

extern "C" char *pf_generator(uint64_t seed, at::Generator **out) {
  return guarded([&] { *out = new at::Generator(at::make_generator<at::CPUGeneratorImpl>(seed)); });
}

extern "C" void pf_generator_free(at::Generator *generator) { delete generator; }

// Floats on the CPU: normal with mean 0 and variance 1, or uniform in [0, 1).
extern "C" char *pf_random(at::Generator *generator, const int64_t *shape, int64_t dims, int normal, tensor *out) {
  return guarded([&] {
    const at::IntArrayRef sizes(shape, dims);
    *out = new at::Tensor(normal ? at::randn(sizes, *generator) : at::rand(sizes, *generator));
  });
}
