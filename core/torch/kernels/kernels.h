// What all kernels share: the C boundary to Rust, and how loops are compiled.
#pragma once

#include <ATen/ATen.h>
#include <cstdlib>
#include <cstring>
#include <exception>

// One copy of a loop for each instruction set, chosen when the library is loaded.
#define PF_CLONES __attribute__((target_clones("avx512f", "avx2", "default"), noinline))
#if !defined(__x86_64__)
#undef PF_CLONES
#define PF_CLONES __attribute__((noinline))
#endif

// As torch-sys has it: a tensor crosses as a pointer to at::Tensor; null is no tensor.
typedef at::Tensor *tensor;

inline at::Tensor tensor_or_undefined(tensor t) { return t ? *t : at::Tensor(); }

// Runs `body`; a C++ exception becomes a message that the caller frees, success is null.
template <typename F> inline char *guarded(F &&body) {
  try {
    body();
    return nullptr;
  } catch (const std::exception &error) {
    return strdup(error.what());
  } catch (...) {
    return strdup("unknown C++ exception");
  }
}
