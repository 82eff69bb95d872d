#include "benchmarks/loss_work.h"

#include <fmt/format.h>
#include <vector>

#include "kernels/common/error.h"

namespace systole::benchmarks {
namespace {

constexpr int kViews = 2, kLeads = 8, kViewsAndLeads = 16;

/// Every two slots are compared, not a slot with itself.
constexpr double between(int slots) {
  return (slots - 1) / (2.0 * slots);
}

// A product makes S or a sum over it. The plain way has three, S, W Y and Wᵀ X, and one less for keys without a
// gradient. Ours makes S anew for every pass.
const std::vector<LossWork> kTable{
    // one set of rows: forward S, half of it where only its upper tiles are computed; backward S and W Z
    {"nt-xent", Compared::rows, 1, 2.5, 3},
    {"supcon", Compared::rows, 1, 3, 3},
    {"dcl", Compared::rows, 1, 3, 3},
    // two sets: forward S, for both directions twice; backward S and a product for either set
    {"info-nce", Compared::rows, between(kViews), 5, 3},
    {"clip", Compared::rows, between(kViews), 6, 3},
    {"cmsc", Compared::rows, between(kViews), 6, 3},
    {"cmlc", Compared::rows, between(kLeads), 6, 3},
    {"cmsmlc", Compared::rows, between(kViewsAndLeads), 6, 3},
    {"siglip", Compared::rows, between(kViews), 5, 3},
    // M/2 rows and M keys, half of them in a queue
    {"moco", Compared::rows, 0.5, 3, 2},
    // M/2 rows of D features: one matrix of both views; one of either, whose derivative is symmetric
    {"barlow-twins", Compared::features, 0.5, 3, 3},
    {"vicreg", Compared::features, 1, 2, 3},
};

}  // namespace

int slots_of(const models::LossDefinition& definition) {
  switch (definition.slots) {
    case models::Slots::views:
      return kViews;
    case models::Slots::leads:
      return kLeads;
    case models::Slots::views_and_leads:
      break;
  }
  return kViewsAndLeads;
}

double LossWork::matrix_size(int M, int D) const {
  const double side = what == Compared::rows ? M : D;
  return share * side * side;
}

double LossWork::flop(double products, int M, int D) const {
  return products * matrix_size(M, D) * 2 * (what == Compared::rows ? D : M);
}

const LossWork& loss_work(const std::string& loss) {
  for (const LossWork& work : kTable)
    if (loss == work.loss) return work;
  throw Error(fmt::format("benchmarks/loss_work.cpp does not say what the loss '{}' has to multiply", loss));
}

}  // namespace systole::benchmarks
