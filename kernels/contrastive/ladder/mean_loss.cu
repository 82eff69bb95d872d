// The mean of the rows' losses, which ends the forward pass of every step: one block, in double.

#include "kernels/common/collectives.h"
#include "kernels/contrastive/ladder/tiles.h"

namespace systole::kernels::SYSTOLE_TARGET::nt_xent_ladder {
namespace {

__global__ __launch_bounds__(kThreads, 4) void mean_of_rows(const float* __restrict__ loss_of_row,  // [M]
                                                            int M, float* __restrict__ loss) {
  double sum = 0;
  for (int i = static_cast<int>(threadIdx.x); i < M; i += kThreads) sum += double{loss_of_row[i]};
  sum = block_sum(sum, *dynamic_shared<BlockSumScratch<double>>());
  if (threadIdx.x == 0) *loss = static_cast<float>(sum / M);
}

}  // namespace

void mean_loss(Queue& queue, int M, const float* loss_of_row, float* loss) {
  launch(queue, {.grid = {1}, .block = {kThreads}, .shared_bytes = sizeof(BlockSumScratch<double>)}, mean_of_rows,
         loss_of_row, M, loss);
}

}  // namespace systole::kernels::SYSTOLE_TARGET::nt_xent_ladder
