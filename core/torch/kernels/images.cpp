// Bytes to network input: (pixel - mean) / std, from `[n, h, w, c]` bytes to a channels_last `[n,
// c, h, w]` float tensor.

#include "kernels.h"
#include <vector>

extern "C" char *pf_images(const uint8_t *pixels, int64_t n, int64_t h, int64_t w, int64_t c, const float *mean, const float *std,
                           tensor *out) {
  return guarded([&] {
    at::Tensor images = at::empty({n, c, h, w}, at::TensorOptions().dtype(at::kFloat).memory_format(at::MemoryFormat::ChannelsLast));
    std::vector<float> table(256 * c);
    for (int64_t value = 0; value < 256; value++)
      for (int64_t k = 0; k < c; k++) table[value * c + k] = (float(value) - mean[k]) / std[k];
    float *to = images.data_ptr<float>();
    for (int64_t i = 0; i < n * h * w; i++)
      for (int64_t k = 0; k < c; k++) to[i * c + k] = table[pixels[i * c + k] * c + k];
    *out = new at::Tensor(images);
  });
}
