// Memory for tensors that is kept and used again. glibc gives large blocks back to the system when
// they are freed, and the next step's tensors fault in fresh pages: 18,000 faults, a fifth of the
// time, in a step of ResNet-20. Here freed blocks wait for the next request of their size, on huge
// pages where the system has them.

#include "kernels.h"
#include <c10/core/CPUAllocator.h>
#include <algorithm>
#include <atomic>
#include <map>
#include <mutex>
#include <stdexcept>
#include <string>
#include <vector>
#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace {

// From here on a block is worth keeping; below, malloc does it without the system.
constexpr size_t SMALLEST = size_t(256) << 10;
constexpr size_t HUGE_PAGE = size_t(2) << 20;

// Sizes are rounded up to an eighth of a power of two, so that batches of nearly the same size
// share blocks: at most 1/8 is wasted.
size_t rounded(size_t bytes) {
  size_t power = SMALLEST;
  while (power <= bytes / 2) power *= 2;
  const size_t unit = power / 8;
  return (bytes + unit - 1) / unit * unit;
}

// The blocks that wait. Lives as long as the process: tensors may be freed by other libraries'
// static destructors.
class Blocks {
public:
  void *take(size_t size) {
    std::lock_guard<std::mutex> lock(mutex);
    live += size;
    peak = std::max(peak, live);
    auto of_size = waiting.find(size);
    if (of_size == waiting.end() || of_size->second.empty()) return nullptr;
    void *block = of_size->second.back();
    of_size->second.pop_back();
    held -= size;
    return block;
  }

  // Keeps the block. Where more than twice the most that was ever in use at once would be held,
  // sizes have changed: what waits in other sizes is given back.
  void give(void *block, size_t size) {
    std::vector<void *> dropped;
    {
      std::lock_guard<std::mutex> lock(mutex);
      live -= size;
      if (held + size + live > 2 * peak) {
        for (auto &[of_size, blocks] : waiting) {
          if (of_size == size) continue;
          held -= of_size * blocks.size();
          dropped.insert(dropped.end(), blocks.begin(), blocks.end());
          blocks.clear();
        }
      }
      waiting[size].push_back(block);
      held += size;
    }
    for (void *old : dropped) std::free(old);
  }

  // Gives back all that waits.
  void drop() {
    std::lock_guard<std::mutex> lock(mutex);
    for (auto &[size, blocks] : waiting)
      for (void *block : blocks) std::free(block);
    waiting.clear();
    held = 0;
  }

private:
  std::mutex mutex;
  std::map<size_t, std::vector<void *>> waiting;
  size_t held = 0, live = 0, peak = 0;
};

Blocks &blocks() {
  static Blocks *kept = new Blocks;
  return *kept;
}

struct Keeping final : c10::Allocator {
  c10::DataPtr allocate(size_t bytes) override {
    void *data = bytes ? data_of(bytes) : nullptr;
    return {data, data, &release, c10::Device(c10::DeviceType::CPU)};
  }

  c10::DeleterFnPtr raw_deleter() const override { return &release; }

  void copy_data(void *to, const void *from, size_t bytes) const override { std::memcpy(to, from, bytes); }

private:
  // Lies in front of a tensor's data, which stays aligned as libtorch aligns it. A deleter gets
  // nothing but the data's address.
  struct alignas(c10::gAlignment) Header {
    size_t size;
  };

  static void *data_of(size_t bytes) {
    size_t size = bytes + sizeof(Header);
    void *block = nullptr;
    if (size >= SMALLEST) {
      size = rounded(size);
      block = blocks().take(size);
    }
    if (!block) block = fresh(size);
    static_cast<Header *>(block)->size = size;
    return static_cast<char *>(block) + sizeof(Header);
  }

  static void *fresh(size_t size) {
    void *block = nullptr;
    const bool huge = size >= HUGE_PAGE;
    const auto allocates = [&] { return posix_memalign(&block, huge ? HUGE_PAGE : c10::gAlignment, size) == 0; };
    if (!allocates()) {
      // What waits for requests of other sizes may be what is missing.
      blocks().drop();
      if (!allocates()) throw std::runtime_error("out of memory: a tensor of " + std::to_string(size) + " bytes");
    }
#if defined(__linux__) && defined(MADV_HUGEPAGE)
    // Only a hint: a system without huge pages refuses, and nothing is lost.
    if (huge) madvise(block, size, MADV_HUGEPAGE);
#endif
    return block;
  }

  static void release(void *data) {
    if (!data) return;
    void *block = static_cast<char *>(data) - sizeof(Header);
    const size_t size = static_cast<Header *>(block)->size;
    if (size >= SMALLEST) blocks().give(block, size);
    else std::free(block);
  }
};

} // namespace

// Makes libtorch take the memory of tensors on the CPU from here. Once a process: every plugin has
// a copy of these kernels, and a user's own allocator is respected.
extern "C" char *pf_keep_memory() {
  return guarded([] {
    if (c10::GetCPUAllocator() == c10::GetDefaultCPUAllocator()) c10::SetCPUAllocator(new Keeping);
  });
}
