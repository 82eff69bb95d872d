// The gradient of losses over pairs of rows on the cuda and simt devices; pair_loss.cu has the table.
#pragma once

#include "kernels/contrastive/pair_loss.h"

namespace systole::kernels::SYSTOLE_TARGET {

void pair_gradient(Queue& queue, const PairShape& shape, const float* x, const float* y, const int32_t* row_ids,
                   const int32_t* column_ids, const PairRow* rows, const PairRow* columns, const float* upstream,
                   float* dx, GradientMode mode);

}  // namespace systole::kernels::SYSTOLE_TARGET
