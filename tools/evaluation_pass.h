// A network over many records, without gradients. The batches are alike, so on a device with graphs the pass over a
// full batch is captured once and replayed (engine/graph.h).
#pragma once

#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "engine/arena.h"
#include "engine/autograd.h"
#include "engine/graph.h"
#include "tools/ecg_data.h"

namespace systole::tools {

class EvaluationPass {
 public:
  /// views [N, L, leads] → anything whose shape follows from N.
  using Network = std::function<Tensor(const Tensor& views)>;

  /// What is handed over must outlive the pass.
  EvaluationPass(const Batches& batches, const Batches::Views& how, Network network);

  /// Calls visit(records of a batch, what the network made of it) for all records in order.
  template <class Visit>
  void operator()(std::span<const size_t> records, const Visit& visit) {
    for_each_batch(records, kEvaluationBatch, [&](std::span<const size_t> rows) { visit(rows, values_of(rows)); });
  }

 private:
  std::vector<float> values_of(std::span<const size_t> records);

  const Batches& batches_;
  Batches::Views how_;
  Network network_;
  Arena arena_;
  Tensor records_;  // i32 [kEvaluationBatch]
  Tensor output_;   // of a full batch; empty until one has run
  std::optional<Graph> full_batch_;
};

}  // namespace systole::tools
