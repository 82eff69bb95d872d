// The losses over pairs of rows written the plain way, as engine operations: the whole matrix of similarities S = X Yᵀ
// by one matrix product, its softmax or sigmoid with masks by ids, and two more products with the derivative by S, dX =
// W Y and dY = Wᵀ X. They are what Systole's own losses are compared with: the same library and the same products, but
// for the matrix. One matrix is held; PyTorch's eager losses hold several.
#pragma once

#include <string>

#include "engine/contrastive.h"
#include "models/contrastive_losses.h"

namespace systole::benchmarks {

using LossFunction = PairLossResult (*)(const models::ViewBatch& batch, const models::LossParameters& parameters);

/// The materialised counterpart of a loss of models/contrastive_losses.h, where ids are those that its definition asks
/// for. Null for losses that compare no pairs of rows.
LossFunction materialised_loss(const std::string& loss);

}  // namespace systole::benchmarks
