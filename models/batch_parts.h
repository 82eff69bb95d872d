// A step whose batch is encoded part after part, in the memory of one part: gradient accumulation.
//
// Where the loss is a mean over records, its gradient is the weighted mean of those of the parts. A contrastive loss
// compares each record with all others of the batch, so parts that knew nothing of each other would give another loss:
// one with fewer negatives. There the batch is encoded twice (GradCache, Gao et al. 2021, arXiv 2101.06983): once
// without recording, for the embeddings of all parts; the loss of all embeddings gives their gradients; and a second
// time part by part, recorded, from which each part's own gradients go back to the weights. That is the gradient of the
// whole batch, for one more forward pass.
//
// BatchNorm normalises each part with statistics of its own, as in any accumulation.
#pragma once

#include <functional>

#include "engine/parameters.h"
#include "models/objective.h"

namespace systole::models {

/// The views of records [first, first + count) of the batch; the same ones whenever it is asked.
using PartViews = std::function<Tensor(size_t first, size_t count)>;

/// Adds the gradient of a batch's loss, which it returns, to those of the objective's parameters. ids i32 [N]: of the
/// batch's records or patients. At most `parts` parts, of equal size up to one record, and of two records at least.
/// Dropout and masks of a part follow from the seed and from its number.
PairLossResult backward_in_parts(Objective& objective, const PartViews& views, const Tensor& ids, int parts,
                                 uint64_t seed, StepNumber step);

}  // namespace systole::models
