#include "models/batch_parts.h"

#include <algorithm>
#include <span>
#include <vector>

#include "engine/operations.h"
#include "engine/pair_tensors.h"

namespace systole::models {
namespace {

struct Part {
  size_t first, count;
  uint64_t seed;
};

std::vector<Part> parts_of(size_t records, int wanted, uint64_t seed) {
  const size_t parts = std::clamp<size_t>(records / 2, 1, static_cast<size_t>(wanted));
  std::vector<Part> result;
  for (size_t p = 0; p < parts; ++p) {
    const size_t first = records * p / parts, end = records * (p + 1) / parts;
    result.push_back({first, end - first, seed ^ uint64_t{p} << 32});
  }
  return result;
}

/// Calls copy(of the batch, of the part) with the memory of each slot's rows of a part, of tensors [slots · N, D].
template <class Copy>
void for_slots(const Tensor& batch, size_t records, const Tensor& of_part, const Part& part, const Copy& copy) {
  const int64_t D = batch.dim(1), slots = batch.dim(0) / static_cast<int64_t>(records);
  const auto N = static_cast<int64_t>(records), first = static_cast<int64_t>(part.first),
             count = static_cast<int64_t>(part.count);
  for (int64_t s = 0; s < slots; ++s)
    copy(batch.slice((s * N + first) * D, {count, D}), of_part.slice(s * count * D, {count, D}));
}

PairLossResult mean_over_records(Objective& objective, const PartViews& views, const Tensor& ids,
                                 std::span<const Part> parts, StepNumber step) {
  Tensor sum = Tensor::zeros({1}, ids.device());
  for (const Part& part : parts) {
    const auto share = static_cast<float>(static_cast<double>(part.count) / static_cast<double>(ids.count()));
    const auto first = static_cast<int64_t>(part.first), count = static_cast<int64_t>(part.count);
    const Tensor loss = objective.loss(views(part.first, part.count), ids.slice(first, {count}), part.seed, step).loss;
    backward(loss, share);
    const NoGradient none;
    sum = add(sum, scaled(loss, share));
  }
  return {sum, {}};
}

PairLossResult compared(ComparingObjective& objective, const PartViews& views, const Tensor& ids,
                        std::span<const Part> parts, StepNumber step) {
  Tensor all;  // [slots · N, D]
  for (const Part& part : parts) {
    const NoGradient none;
    const RepeatedPass later_counted;
    const Tensor x = objective.embeddings(views(part.first, part.count), part.seed, step);
    const int64_t slots = x.dim(0) / static_cast<int64_t>(part.count);
    if (!all) all = Tensor::empty({slots * ids.count(), x.dim(1)}, x.device());
    for_slots(all, static_cast<size_t>(ids.count()), x, part,
              [](const Tensor& batch, const Tensor& own) { batch.copy_from(own); });
  }
  const Tensor gradient = Tensor::zeros(all.shape(), all.device());
  make_leaf(all, gradient);
  PairLossResult result = objective.compare(all, ids);
  backward(result.loss);

  for (const Part& part : parts) {
    const Tensor x = objective.embeddings(views(part.first, part.count), part.seed, step);
    const Tensor dx = Tensor::empty(x.shape(), x.device());
    for_slots(gradient, static_cast<size_t>(ids.count()), dx, part,
              [](const Tensor& batch, const Tensor& own) { own.copy_from(batch); });
    backward(x, dx);
  }
  result.embeddings = all;
  return result;
}

}  // namespace

PairLossResult backward_in_parts(Objective& objective, const PartViews& views, const Tensor& ids, int parts,
                                 uint64_t seed, StepNumber step) {
  const std::vector<Part> list = parts_of(static_cast<size_t>(ids.count()), parts, seed);
  if (list.size() == 1) {
    const PairLossResult result = objective.loss(views(0, static_cast<size_t>(ids.count())), ids, seed, step);
    backward(result.loss);
    return result;
  }
  if (auto* const comparing = dynamic_cast<ComparingObjective*>(&objective))
    return compared(*comparing, views, ids, list, step);
  return mean_over_records(objective, views, ids, list, step);
}

}  // namespace systole::models
