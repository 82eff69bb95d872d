#include "models/training_step.h"

#include <array>
#include <cmath>
#include <numeric>

#include "engine/recompute.h"
#include "kernels/common/dry_run.h"
#include "models/batch_parts.h"

namespace systole::models {

TrainingStep::TrainingStep(ParameterStore& store, Objective& objective, Optimizer& optimizer, Views views,
                           const Options& options)
    : store_(store),
      objective_(objective),
      optimizer_(optimizer),
      views_(std::move(views)),
      options_(options),
      arena_(store.values().device()),
      records_(Tensor::zeros({options.batch_size}, device(), DType::i32)),
      ids_(Tensor::zeros({options.batch_size}, device(), DType::i32)),
      step_(Tensor::zeros({1}, device(), DType::i32)),
      loss_(Tensor::zeros({1}, device())),
      left_out_(Tensor::zeros({2}, device(), DType::i32)),
      data_({records_, ids_, step_, optimizer.factors(), objective.numbers()},
            {loss_, optimizer.sum_of_squares(), left_out_}, options.steps_per_epoch, device()),
      packed_weights_(device(), store.values().data(), store.values().count()) {}

void TrainingStep::prepare(std::span<const Input> steps) {
  sizes_.clear();
  next_ = 0;
  for (const Input& input : steps) {
    const auto i = static_cast<int64_t>(sizes_.size());
    sizes_.push_back(static_cast<int64_t>(input.records.size()));
    data_.set<int32_t>(i, kRecords, input.records);
    data_.set<int32_t>(i, kIds, input.ids);
    data_.set<int32_t>(i, kStep, std::array{static_cast<int32_t>(input.number)});
    data_.set<float>(i, kFactors,
                     optimizer_.factors_of(optimizer_.steps() + 1 + i, static_cast<float>(input.learning_rate)));
    data_.set<float>(i, kNumbers, objective_.numbers_at(input.progress));
  }
  data_.start();
}

void TrainingStep::run() {
  const int64_t records = sizes_.at(next_++);
  if (!embeddings_.contains(records)) {
    const Shape shape = measure(records).embeddings;
    embeddings_[records] = shape.rank() > 0 ? Tensor::empty(shape, device()) : Tensor();
  }
  if (!can_be_captured()) return step(records);
  const auto [entry, is_first] = graphs_.try_emplace(records);
  if (is_first) return step(records);  // makes the memory that the steps after it use
  std::optional<Graph>& graph = entry->second;
  if (!graph) {
    Queue queue(device());
    graph.emplace().capture(queue, [this, records] { step(records); });
  }
  graph->replay();
}

void TrainingStep::step(int64_t records) {
  const ArenaScope scope(arena_);
  data_.fetch();
  store_.zero_gradients();
  try {
    const PairLossResult result = [&] {
      const kernels::PackedWeights::Scope unchanged(packed_weights_);
      return add_gradient(records);
    }();
    loss_.copy_from(result.loss);
    if (result.left_out) left_out_.slice(0, result.left_out.shape()).copy_from(result.left_out);
    if (result.embeddings) embeddings_.at(records).copy_from(result.embeddings);
    optimizer_.apply();
    objective_.follow();
  } catch (...) {
    objective_.forget();  // what it holds of the batch is the arena's
    throw;
  }
  data_.keep();
}

PairLossResult TrainingStep::add_gradient(int64_t records) {
  const Recompute recompute(options_.recompute);
  const StepNumber step = StepNumber::at(reinterpret_cast<const uint32_t*>(step_.bytes_begin()));
  const auto views = [&](size_t first, size_t count) {
    return views_(records_.slice(static_cast<int64_t>(first), {static_cast<int64_t>(count)}), step);
  };
  return backward_in_parts(objective_, views, ids_.slice(0, {records}), options_.parts, options_.seed, step);
}

std::vector<TrainingStep::Result> TrainingStep::results(int64_t first, int64_t count) {
  data_.read(first, count);
  std::vector<Result> results;
  for (int64_t i = first; i < first + count; ++i) {
    const std::vector<int32_t> left_out = data_.result<int32_t>(i, kLeftOut);
    results.push_back({data_.result<float>(i, kLoss)[0], std::sqrt(data_.result<double>(i, kSquares)[0]),
                       std::accumulate(left_out.begin(), left_out.end(), int64_t{0})});
  }
  return results;
}

TrainingStep::Extent TrainingStep::measure(int64_t records) {
  const DryRun dry;
  const RepeatedPass uncounted;
  Arena arena = Arena::imaginary(device());
  Extent extent;
  {
    const ArenaScope scope(arena);
    const PairLossResult result = add_gradient(records);
    if (result.embeddings) extent.embeddings = result.embeddings.shape();
    objective_.follow();
  }
  extent.bytes = arena.extent();
  return extent;
}

}  // namespace systole::models
