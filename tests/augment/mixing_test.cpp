// Mixup and CutMix. In these records each has a lead of its own, a rising ramp, and zeros elsewhere: so a view shows
// which records it was made of, with which weights and from which time.

#include "tests/augment/batch.h"

using namespace systole;
using namespace systole::augment;
using namespace systole::test;

namespace {

constexpr int kRecords = 6;

double ramp_mv(int l) {
  return 0.5 + l / 1024.0;
}
/// Record r of six is a ramp on lead r.
Batch ramps(int L) {
  Batch batch(kRecords, L, kRecords, 100);
  return batch.set_mv([](int r, int l, int c) { return r == c ? ramp_mv(l) : 0; });
}

/// The leads of a view that are not zero everywhere, without `own`.
std::vector<int> partners(const std::vector<float>& view, int own) {
  std::vector<int> found;
  for (int c = 0; c < kRecords; ++c)
    if (c != own && max_magnitude(lead_of(view, c, kRecords)) > 0) found.push_back(c);
  return found;
}

/// Partners of record 0 over many steps: each of the others equally often, itself never.
void check_partners_are_uniform(const char* name) {
  const Batch batch = ramps(8);
  NamedRecipe recipe{name, "", only(name)};
  if (recipe.recipe.cutmix.p > 0) change(recipe, "cutmix.share=0.5");
  std::vector<int> count(kRecords, 0);
  int mixed = 0;
  const uint32_t steps = device() == Device::cpu ? 10 : 3;
  for (uint32_t step = 0; step < steps; ++step) {
    const std::vector<float> views = batch.views(recipe.recipe, 100, step);
    for (size_t v = 0; v < 100; ++v) {
      const std::vector<int> found = partners(view_of(views, v * kRecords, 8, kRecords), 0);
      REQUIRE(found.size() <= 1);  // none: mixup's weight may be 1 to rounding
      if (found.empty()) continue;
      ++count[static_cast<size_t>(found[0])];
      ++mixed;
    }
  }
  CHECK(mixed > 90 * static_cast<int>(steps));
  CHECK(count[0] == 0);
  for (size_t c = 1; c < kRecords; ++c) CHECK(std::abs(count[c] - mixed / 5.0) < 4 * std::sqrt(mixed * 0.2 * 0.8));
}

/// The same views, record by record, when the batch is in another order; other partners when it holds others.
void check_batch_is_a_set(const char* name) {
  const int L = 40;
  Batch batch = ramps(L);
  const Recipe recipe = only(name);
  const std::vector<float> views = batch.views(recipe, 2);
  batch.records = {3, 5, 0, 1, 4, 2};
  const std::vector<float> reordered = batch.views(recipe, 2);
  for (size_t v = 0; v < 2; ++v)
    for (size_t n = 0; n < 6; ++n)
      CHECK(view_of(reordered, v * 6 + n, L, kRecords) == view_of(views, v * 6 + batch.records[n], L, kRecords));

  for (const std::vector<uint32_t>& alone : {std::vector<uint32_t>{2}, std::vector<uint32_t>{2, 2}}) {
    batch.records = alone;
    CHECK_MESSAGE(batch.views(recipe) == batch.views({}), name << " of one record");
  }
  batch.records = {2, 4};
  for (uint32_t step = 0; step < 10; ++step)
    for (int c : partners(view_of(batch.views(recipe, 1, step), 0, L, kRecords), 2)) CHECK(c == 4);
}

}  // namespace

TEST_CASE("mixing: mixup is the weighted mean with one other record, at the same time, the own weight a half or more") {
  const int L_in = 300, L = 200;
  const Batch batch = ramps(L_in);
  NamedRecipe recipe{"mixup", "", only("mixup")};
  change(recipe, "mixup.alpha=1");  // λ uniform: max(λ, 1 − λ) is uniform in [½, 1]
  double sum = 0, least = 1, most = 0;
  int count = 0;
  for (uint32_t step = 0; step < 40; ++step) {
    const std::vector<float> plain = batch.views({}, 2, L, Segment::random, step),
                             x = batch.views(recipe.recipe, 2, L, Segment::random, step);
    for (int row = 0; row < 2 * kRecords; ++row) {
      const int own = row % kRecords;
      const std::vector<float> view = view_of(x, static_cast<size_t>(row), L, kRecords);
      const std::vector<double> ramp = lead_of(view_of(plain, static_cast<size_t>(row), L, kRecords), own, kRecords);
      const std::vector<double> mine = lead_of(view, own, kRecords);
      const std::vector<int> others = partners(view, own);
      REQUIRE(others.size() == 1);
      const std::vector<double> theirs = lead_of(view, others[0], kRecords);
      const double lambda = mine[0] / ramp[0];
      double worst = 0;
      for (size_t l = 0; l < ramp.size(); ++l)
        worst = std::max({worst, std::abs(mine[l] - lambda * ramp[l]), std::abs(theirs[l] - (1 - lambda) * ramp[l])});
      CHECK(worst < 1e-6);
      sum += lambda;
      least = std::min(least, lambda);
      most = std::max(most, lambda);
      ++count;
    }
  }
  CHECK((least >= 0.5 - 1e-6 && least < 0.52));
  CHECK((most <= 1 + 1e-6 && most > 0.98));
  CHECK(std::abs(sum / count - 0.75) < 4 * 0.5 / std::sqrt(12.0 * count));
}

TEST_CASE("mixing: mixup's default weight leaves most views nearly as they were") {
  // λ ~ Beta(α, α): the mean of max(λ, 1 − λ) is the probability that a Beta(α + 1, α) variate is above ½: 0.8988 for
  // 0.2.
  const Batch batch = ramps(4);
  const int V = 100;
  const uint32_t steps = device() == Device::cpu ? 5 : 1;
  double sum = 0, squares = 0;
  for (uint32_t step = 0; step < steps; ++step) {
    const std::vector<float> x = batch.views(only("mixup"), V, step);
    for (int row = 0; row < V * kRecords; ++row) {
      const double weight = x[static_cast<size_t>(row * 4 * kRecords + row % kRecords)] / ramp_mv(0);
      sum += weight;
      squares += weight * weight;
    }
  }
  const double count = steps * V * kRecords, mean = sum / count, deviation = std::sqrt(squares / count - mean * mean);
  CHECK(std::abs(mean - 0.8988) < 4 * deviation / std::sqrt(count));
}

TEST_CASE("mixing: CutMix takes one segment of 10 to 30 % from another record, at the same time") {
  const int L_in = 300, L = 200;
  const Batch batch = ramps(L_in);
  int shortest = L, longest = 0;
  for (uint32_t step = 0; step < 20; ++step) {
    const std::vector<float> plain = batch.views({}, 1, L, Segment::random, step),
                             x = batch.views(only("cutmix"), 1, L, Segment::random, step);
    for (int own = 0; own < kRecords; ++own) {
      const std::vector<float> view = view_of(x, static_cast<size_t>(own), L, kRecords);
      const std::vector<double> ramp = lead_of(view_of(plain, static_cast<size_t>(own), L, kRecords), own, kRecords);
      const std::vector<double> mine = lead_of(view, own, kRecords);
      const std::vector<int> others = partners(view, own);
      REQUIRE(others.size() == 1);
      const std::vector<double> theirs = lead_of(view, others[0], kRecords);
      int taken = 0, begins = 0;
      bool right = true;
      for (size_t l = 0; l < ramp.size(); ++l) {
        const bool cut = mine[l] == 0;
        right &= cut ? theirs[l] == ramp[l] : mine[l] == ramp[l] && theirs[l] == 0;
        taken += cut;
        begins += cut && (l == 0 || mine[l - 1] != 0);
      }
      CHECK(right);
      CHECK(begins == 1);
      shortest = std::min(shortest, taken);
      longest = std::max(longest, taken);
    }
  }
  CHECK((shortest >= 20 - 1 && shortest < 25));
  CHECK((longest <= 60 && longest > 55));
}

TEST_CASE("mixing: the partner is any other record of the batch, each equally often") {
  check_partners_are_uniform("mixup");
  check_partners_are_uniform("cutmix");
}

TEST_CASE("mixing: the batch counts as a set: not its order, and alone in it a record stays as it is") {
  check_batch_is_a_set("mixup");
  check_batch_is_a_set("cutmix");
}
