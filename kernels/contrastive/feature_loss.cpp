#include "kernels/contrastive/feature_loss.h"

#include <cmath>
#include <fmt/format.h>

#include "kernels/common/error.h"

namespace systole::kernels {
namespace {

void check_views(const char* loss, int N, int D) {
  if (N < 2)
    throw Error(fmt::format("{} over {} rows per view; expected at least 2: columns need a variance", loss, N));
  if (D < 1) throw Error(fmt::format("{} over embeddings of {} numbers; expected at least 1", loss, D));
}

void check_weight(const char* what, float weight) {
  if (!(weight >= 0) || std::isinf(weight))
    throw Error(fmt::format("{} is {}; expected a finite number that is not negative", what, weight));
}

}  // namespace

void check(const CosineShape& shape) {
  if (shape.N < 1) throw Error(fmt::format("the cosine loss over {} rows; expected at least 1", shape.N));
  if (shape.D < 1)
    throw Error(fmt::format("the cosine loss over embeddings of {} numbers; expected at least 1", shape.D));
}

std::string text(const CosineShape& shape) {
  return fmt::format("N {}, D {}", shape.N, shape.D);
}

void check(const BarlowTwinsShape& shape) {
  check_views("Barlow Twins", shape.N, shape.D);
  check_weight("the weight of Barlow Twins off the diagonal", shape.off_diagonal);
}

std::string text(const BarlowTwinsShape& shape) {
  return fmt::format("N {}, D {}, off-diagonal weight {}", shape.N, shape.D, shape.off_diagonal);
}

void check(const VicregShape& shape) {
  check_views("VICReg", shape.N, shape.D);
  check_weight("VICReg's weight of the invariance", shape.invariance);
  check_weight("VICReg's weight of the variance", shape.variance);
  check_weight("VICReg's weight of the covariance", shape.covariance);
}

std::string text(const VicregShape& shape) {
  return fmt::format("N {}, D {}, weights {}, {}, {}", shape.N, shape.D, shape.invariance, shape.variance,
                     shape.covariance);
}

}  // namespace systole::kernels
