#include "tools/evaluation_pass.h"

namespace systole::tools {

EvaluationPass::EvaluationPass(const Batches& batches, const Batches::Views& how, Network network)
    : batches_(batches),
      how_(how),
      network_(std::move(network)),
      arena_(batches.device()),
      records_(Tensor::zeros({static_cast<int64_t>(kEvaluationBatch)}, batches.device(), DType::i32)) {}

std::vector<float> EvaluationPass::values_of(std::span<const size_t> records) {
  const NoGradient no_gradient;
  const std::vector<int32_t> numbers(records.begin(), records.end());
  const Tensor rows = records_.slice(0, {static_cast<int64_t>(numbers.size())});
  rows.copy_from(numbers.data(), rows.bytes());
  if (numbers.size() < kEvaluationBatch || !output_) {
    Shape shape;
    std::vector<float> values;
    {
      const ArenaScope scope(arena_);
      const Tensor made = network_(batches_.views(rows, how_));
      shape = made.shape();
      values = made.to_vector();
    }
    if (numbers.size() == kEvaluationBatch) output_ = Tensor::empty(shape, batches_.device());
    return values;
  }
  if (!full_batch_) {
    Queue queue(batches_.device());
    full_batch_.emplace().capture(queue, [this, rows] {
      const ArenaScope scope(arena_);
      output_.copy_from(network_(batches_.views(rows, how_)));
    });
  }
  full_batch_->replay();
  return output_.to_vector();
}

}  // namespace systole::tools
