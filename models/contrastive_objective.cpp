#include "models/contrastive_objective.h"

namespace systole::models {
namespace {

ContrastiveOptions for_slots(ContrastiveOptions options) {
  EncoderOptions& encoder = options.network.encoder;
  if (loss_definition(options.loss.name).slots != Slots::views) encoder = by_slots(encoder);
  return options;
}

}  // namespace

Tensor ids_of_slots(const Tensor& ids, int slots) {
  if (slots == 1) return ids;
  Tensor all = Tensor::empty({slots * ids.count()}, ids.device(), DType::i32);
  for (int slot = 0; slot < slots; ++slot) all.slice(slot * ids.count(), ids.shape()).copy_from(ids);
  return all;
}

ContrastiveObjective::ContrastiveObjective(ParameterStore& store, const ContrastiveOptions& options)
    : store_(store), options_(for_slots(options)), network_(store, options_.network), loss_(store, options_.loss) {}

void ContrastiveObjective::start() {
  if (options_.loss.name == "moco") moco_.emplace(store_, options_.network, options_.moco);
}

PairLossResult ContrastiveObjective::loss(const Tensor& views, const Tensor& ids, uint64_t seed, StepNumber step) {
  if (!moco_) return ComparingObjective::loss(views, ids, seed, step);
  const Mode mode = Mode::train().with_dropout(seed, step);
  const Shape half{views.dim(0) / 2, views.dim(1), views.dim(2)};
  batch_ = {network_.project(views.slice(0, half), mode), ids, 1};
  moco_->add_keys(views.slice(half.count(), half), batch_, Mode::train().with_dropout(~seed, step));
  return loss_(batch_);
}

Tensor ContrastiveObjective::embeddings(const Tensor& views, uint64_t seed, StepNumber step) {
  if (moco_) throw Error("the loss moco compares a batch with its queue: it has no embeddings to be compared alone");
  const Mode mode = Mode::train(view_count()).with_dropout(seed, step);
  return compares_slots() ? network_.project_slots(views, mode) : network_.project(views, mode);
}

PairLossResult ContrastiveObjective::compare(const Tensor& embeddings, const Tensor& ids) {
  const int slots = static_cast<int>(embeddings.dim(0) / ids.count());
  return loss_({embeddings, ids_of_slots(ids, slots), slots});
}

void ContrastiveObjective::follow() {
  if (moco_ && !RepeatedPass::is_active()) moco_->follow(batch_);
  batch_ = {};
}

void ContrastiveObjective::state(RunState& state) {
  if (moco_) moco_->state(state);
}

std::optional<float> ContrastiveObjective::learned_temperature() const {
  if (!options_.loss.learn_temperature) return {};
  return loss_.temperature();
}

}  // namespace systole::models
