#include "tools/collapse_warning.h"

#include <cmath>
#include <fmt/format.h>

namespace systole::tools {
namespace {

constexpr double kNear = 0.01;       // of the loss
constexpr double kVanishing = 1e-3;  // of the variance, which is 1 for embeddings in all directions

}  // namespace

double collapsed_nt_xent(int64_t records) {
  return std::log(2 * static_cast<double>(records) - 1);
}

void CollapseWarning::look_at_loss(double mean_loss, double collapsed_loss, int64_t epoch) {
  if (said_loss_ || epoch == 0 || !(std::abs(mean_loss - collapsed_loss) <= kNear * collapsed_loss)) return;
  said_loss_ = true;
  fmt::print(stderr,
             "warning: the loss of epoch {} stayed at {:.4f}, and log(2N - 1) is {:.4f}: the network tells no ECG from "
             "another; try another learning rate, temperature or weaker augmentation\n",
             epoch + 1, mean_loss, collapsed_loss);
}

void CollapseWarning::look_at_variance(double variance, int64_t epoch) {
  if (said_variance_ || epoch == 0 || !(variance < kVanishing)) return;
  said_variance_ = true;
  fmt::print(stderr,
             "warning: in epoch {} the embeddings of different ECGs are nearly the same (variance {:.2g} of 1): they "
             "are collapsing\n",
             epoch + 1, variance);
}

}  // namespace systole::tools
