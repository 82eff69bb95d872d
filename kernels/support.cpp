#include "kernels/support.h"

#include "kernels/batch_norm/batch_norm.h"
#include "kernels/classification/classification.h"
#include "kernels/contrastive/contrastive.h"
#include "kernels/contrastive/feature_loss.h"
#include "kernels/contrastive/pair_loss.h"
#include "kernels/contrastive/sigmoid_loss.h"
#include "kernels/conv1d/conv1d.h"
#include "kernels/elementwise/elementwise.h"
#include "kernels/linear/linear.h"
#include "kernels/optimizer/optimizer.h"
#include "kernels/pool/pool.h"
#include "kernels/reconstruction/reconstruction.h"
#include "kernels/step_data/step_data.h"

namespace systole::kernels {

std::vector<Support> support_matrix() {
  std::vector<Support> rows;
  add_support(rows, conv1d_kernels);
  add_support(rows, batch_norm_kernels);
  add_support(rows, elementwise_kernels);
  add_support(rows, linear_kernels);
  add_support(rows, pool_kernels);
  add_support(rows, contrastive_kernels);
  add_support(rows, pair_loss_kernels);
  add_support(rows, sigmoid_loss_kernels);
  add_support(rows, feature_loss_kernels);
  add_support(rows, reconstruction_kernels);
  add_support(rows, classification_kernels);
  add_support(rows, optimizer_kernels);
  add_support(rows, step_data_kernels);
  return rows;
}

}  // namespace systole::kernels
