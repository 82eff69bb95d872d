#include "tools/epoch_steps.h"

#include <algorithm>
#include <vector>

#include "tools/training.h"

namespace systole::tools {

EpochSteps::Records EpochSteps::batch(int64_t step_of_epoch) const {
  const auto size = static_cast<size_t>(batch_size), begin = static_cast<size_t>(step_of_epoch) * size;
  return order.subspan(begin, std::min(size, order.size() - begin));
}

void EpochSteps::make(int64_t first, int64_t done, const std::function<Input(Records records, int64_t number)>& input,
                      const std::function<void(Records records, const std::optional<Result>& result)>& visit) const {
  int64_t prepared_from = -1;
  for (int64_t at = first; at < steps;) {
    if (prepared_from < 0) {
      std::vector<Input> inputs;
      for (int64_t i = at; i < steps; ++i) inputs.push_back(input(batch(i), done + i - at));
      step.prepare(inputs);
      prepared_from = at;
    }
    // Reading results waits for the device: on cuda the host runs ahead until one is to be looked at.
    int64_t count = 1;
    if (step.device() == Device::cuda && !(run && run->skips()))
      while (at + count < steps && !is_logged(done + count)) ++count;

    std::vector<Result> results;
    Records records;  // of the step that is looked at
    const auto make_steps = [&] {
      records = batch(at);
      for (int64_t i = 0; i < count; ++i) step.run();
      results = step.results(at - prepared_from, count);
      for (int64_t i = 0; i < count; ++i) {
        records = batch(at + i);
        require_finite("loss", results[static_cast<size_t>(i)].loss, done + i + 1);
        require_finite("gradient's norm", results[static_cast<size_t>(i)].gradient_norm, done + i + 1);
      }
    };
    bool made = true;
    if (run)
      made = run->attempt(parts, dataset, records, make_steps);
    else
      make_steps();
    for (int64_t i = 0; i < count; ++i)
      visit(batch(at + i), made ? std::optional(results[static_cast<size_t>(i)]) : std::nullopt);
    if (!made) prepared_from = -1;  // the steps after it were prepared for one more of the optimiser
    at += count, done += count;
    if (run) run->after_step(done, parts);
  }
}

}  // namespace systole::tools
