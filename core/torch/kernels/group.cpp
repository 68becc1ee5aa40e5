// A group of processes that train together: libtorch's TCPStore to find each other, and Gloo to
// add tensors up. Every call is made by all of the group, in the same order.

#include "kernels.h"
#define USE_C10D_GLOO
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>
#include <c10/util/Logging.h>
#include <chrono>
#include <string>
#include <vector>

namespace {

struct Group {
  c10::intrusive_ptr<c10d::Store> store;
  c10::intrusive_ptr<c10d::ProcessGroupGloo> gloo;
};

std::vector<at::Tensor> list(const tensor *tensors, int64_t count) {
  std::vector<at::Tensor> all;
  for (int64_t i = 0; i < count; ++i) all.push_back(*tensors[i]);
  return all;
}

} // namespace

// Joins the group, as worker `rank` of `size`. Where `serves`, worker 0 keeps the store at
// `host`:`port`; several groups of one process share it, as `prefix` tells them apart. Waits
// `join_ms` for the others to come, and later `timeout_ms` for each answer.
extern "C" char *pf_group(const char *host, int port, int serves, int rank, int size, int64_t join_ms,
                          int64_t timeout_ms, const char *interface, const char *prefix, Group **out) {
  return guarded([&] {
    // What goes wrong is told by the exception; libtorch's own words come with every attempt, and
    // with the addresses of its code.
    if (!std::getenv("TORCH_CPP_LOG_LEVEL")) FLAGS_caffe2_log_level = 3;
    const std::chrono::milliseconds join(join_ms);
    c10d::TCPStoreOptions to;
    to.port = static_cast<uint16_t>(port);
    to.isServer = serves && rank == 0;
    to.waitWorkers = false;
    to.timeout = join;
    to.multiTenant = true;
    auto store = c10::make_intrusive<c10d::PrefixStore>(prefix, c10::make_intrusive<c10d::TCPStore>(host, to));
    auto options = c10d::ProcessGroupGloo::Options::create(join);
    const std::string of(interface);
    options->devices.push_back(of.empty() ? c10d::ProcessGroupGloo::createDefaultDevice()
                                          : c10d::ProcessGroupGloo::createDeviceForHostname(of));
    // The pool that runs the collectives: one at a time keeps their order.
    options->threads = 1;
    auto gloo = c10::make_intrusive<c10d::ProcessGroupGloo>(store, rank, size, options);
    c10d::Backend &backend = *gloo;
    backend.setTimeout(std::chrono::milliseconds(timeout_ms));
    *out = new Group{store, gloo};
  });
}

extern "C" void pf_group_free(Group *group) { delete group; }

// Replaces each tensor by its sum (0), minimum (1) or maximum (2) over the group, all in one
// message: they are of one type.
extern "C" char *pf_group_reduce(Group *group, const tensor *tensors, int64_t count, int how) {
  return guarded([&] {
    if (count == 0) return;
    at::NoGradGuard no_grad;
    auto all = list(tensors, count);
    std::vector<at::Tensor> parts;
    for (const auto &each : all) parts.push_back(each.reshape({-1}));
    std::vector<at::Tensor> flat{count == 1 ? parts[0].clone() : at::cat(parts)};
    c10d::AllreduceOptions options;
    options.reduceOp = how == 0 ? c10d::ReduceOp::SUM : how == 1 ? c10d::ReduceOp::MIN : c10d::ReduceOp::MAX;
    group->gloo->allreduce(flat, options)->wait();
    int64_t at = 0;
    for (auto &each : all) {
      each.copy_(flat[0].narrow(0, at, each.numel()).view(each.sizes()));
      at += each.numel();
    }
  });
}

// Replaces each tensor by worker 0's.
extern "C" char *pf_group_broadcast(Group *group, const tensor *tensors, int64_t count) {
  return guarded([&] {
    at::NoGradGuard no_grad;
    for (auto &each : list(tensors, count)) {
      std::vector<at::Tensor> one{each.reshape({-1}).clone()};
      group->gloo->broadcast(one, c10d::BroadcastOptions())->wait();
      each.copy_(one[0].view(each.sizes()));
    }
  });
}
