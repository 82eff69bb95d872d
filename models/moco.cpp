#include "models/moco.h"

#include <algorithm>
#include <fmt/format.h>

#include "engine/optimizer.h"
#include "kernels/common/dry_run.h"

namespace systole::models {
namespace {

constexpr int32_t kNobody = -1;

/// Rows [first, first + count) of a tensor, in the same memory.
Tensor part(const Tensor& x, int64_t first, int64_t count) {
  if (x.shape().rank() == 1) return x.slice(first, {count});
  return x.slice(first * x.dim(1), {count, x.dim(1)});
}

}  // namespace

Moco::Moco(const ParameterStore& online, const SimclrOptions& network, const MocoOptions& options)
    : online_(online), options_(options), network_(store_, network) {
  if (options.queue_size < 1) throw Error(fmt::format("MoCo: a queue of {} rows", options.queue_size));
  const Device device = online.values().device();
  store_.allocate(device, 0);
  store_.values().copy_from(online.values().slice(0, store_.values().shape()));
  store_.buffers().copy_from(online.buffers().slice(0, store_.buffers().shape()));
  decay_ = Tensor::from(ema_weights(options.decay), {2}, device);
  queue_ = Tensor::zeros({options.queue_size, network.projection_size}, device);
  queue_ids_ = Tensor::from(std::vector<int32_t>(static_cast<size_t>(options.queue_size), kNobody),
                            {options.queue_size}, device);
}

int64_t Moco::queued() const {
  return DryRun::is_active() ? options_.queue_size : queued_;  // a dry run counts the memory of the steps to come
}

void Moco::add_keys(const Tensor& second_views, ViewBatch& batch, Mode mode) {
  const NoGradient none;
  const int64_t N = second_views.dim(0), queued = this->queued();
  const Device device = second_views.device();
  batch.keys = Tensor::empty({N + queued, queue_.dim(1)}, device);
  batch.key_ids = Tensor::empty({N + queued}, device, DType::i32);
  part(batch.keys, 0, N).copy_from(network_.project(second_views, mode));
  part(batch.key_ids, 0, N).copy_from(batch.ids);
  if (queued == 0) return;
  part(batch.keys, N, queued).copy_from(part(queue_, 0, queued));
  part(batch.key_ids, N, queued).copy_from(part(queue_ids_, 0, queued));
}

void Moco::follow(const ViewBatch& batch) {
  ema(online_.values().slice(0, store_.values().shape()), store_.values(), decay_);
  queued_ = std::min<int64_t>(batch.keys.dim(0), options_.queue_size);
  part(queue_, 0, queued_).copy_from(part(batch.keys, 0, queued_));
  if (options_.patient_positives) part(queue_ids_, 0, queued_).copy_from(part(batch.key_ids, 0, queued_));
}

void Moco::state(RunState& state) {
  state.store("momentum", store_);
  state.tensor("queue", queue_);
  state.tensor("queue_ids", queue_ids_);
  state.number("queued", queued_);
}

}  // namespace systole::models
