// Augmentations that take something away. In these records no normalised value is zero, so a zero is a mask.

#include <numeric>

#include "tests/augment/batch.h"

using namespace systole;
using namespace systole::augment;
using namespace systole::test;

namespace {

Batch noisy_leads(int R, int L, int C) {
  Batch batch(R, L, C, 500);
  const std::vector<float> noise = random_normal(batch.samples.size(), 7, 0.3f);
  batch.set_mv([&](int r, int l, int c) { return noise[static_cast<size_t>((r * L + l) * C + c)]; });
  batch.mean_mv.assign(batch.mean_mv.size(), 0.01234f);
  return batch;
}

/// Where a lead is zero. Everything else must be as without augmentation.
std::vector<bool> zeros(const std::vector<double>& with, const std::vector<double>& without) {
  std::vector<bool> zero;
  bool same = true;
  for (size_t l = 0; l < with.size(); ++l) {
    zero.push_back(with[l] == 0);
    same &= with[l] == 0 || with[l] == without[l];
  }
  CHECK(same);
  return zero;
}

int count(const std::vector<bool>& mask) {
  return static_cast<int>(std::count(mask.begin(), mask.end(), true));
}
/// Stretches in which the mask holds; on a circle the last and the first may be one.
int stretches(const std::vector<bool>& mask, bool circle) {
  int begins = 0;
  for (size_t l = 0; l < mask.size(); ++l) begins += mask[l] && (l > 0 ? !mask[l - 1] : !circle || !mask.back());
  return begins;
}

/// Masks of all leads of all views: [N][C].
using Masks = std::vector<std::vector<std::vector<bool>>>;
Masks masks(const Batch& batch, const Recipe& recipe) {
  const std::vector<float> with = batch.views(recipe), without = batch.views({});
  Masks all;
  for (size_t n = 0; n < batch.records.size(); ++n) {
    all.emplace_back();
    for (int c = 0; c < batch.C; ++c)
      all.back().push_back(zeros(lead_of(view_of(with, n, batch.L_in, batch.C), c, batch.C),
                                 lead_of(view_of(without, n, batch.L_in, batch.C), c, batch.C)));
  }
  return all;
}

/// Moments at which any lead differs. (One alone may lie on the line that replaced it: samples are whole numbers.)
std::vector<bool> moments_that_differ(const std::vector<float>& a, const std::vector<float>& b, int C) {
  std::vector<bool> differ(a.size() / static_cast<size_t>(C), false);
  for (size_t i = 0; i < a.size(); ++i)
    if (a[i] != b[i]) differ[i / static_cast<size_t>(C)] = true;
  return differ;
}

struct Size {
  int L, C;
};
std::vector<Size> sizes() {
  if (device() == Device::cpu) return {{1000, 8}, {1000, 12}, {5000, 16}, {7, 3}, {1, 1}};
  return {{300, 8}, {100, 12}, {300, 16}, {7, 3}, {1, 1}};
}

NamedRecipe alone(const std::string& name, std::initializer_list<const char*> changes = {}) {
  NamedRecipe recipe{name, "", only(name)};
  for (const char* text : changes) change(recipe, text);
  return recipe;
}

}  // namespace

TEST_CASE("masks: a time mask is one stretch, the same on all leads") {
  for (const Size& s : sizes()) {
    int shortest = s.L, longest = 0;
    for (const auto& leads : masks(noisy_leads(20, s.L, s.C), only("time_mask"))) {
      for (const auto& lead : leads) CHECK(lead == leads[0]);
      CHECK(stretches(leads[0], false) <= 1);
      shortest = std::min(shortest, count(leads[0]));
      longest = std::max(longest, count(leads[0]));
    }
    CHECK(shortest >= static_cast<int>(0.05 * s.L));
    CHECK(longest <= 0.3 * s.L);
    if (s.L >= 100) CHECK((shortest < 0.12 * s.L && longest > 0.22 * s.L));
  }
}

TEST_CASE("masks: cut out is one stretch of each lead, at a place of its own") {
  for (const Size& s : sizes()) {
    int differ = 0;
    for (const auto& leads : masks(noisy_leads(10, s.L, s.C), only("cut_out")))
      for (const auto& lead : leads) {
        CHECK(stretches(lead, false) <= 1);
        CHECK((count(lead) >= static_cast<int>(0.05 * s.L) && count(lead) <= 0.3 * s.L));
        differ += lead != leads[0];
      }
    if (s.L >= 100) CHECK(differ > 9 * (s.C - 1));
  }
}

TEST_CASE("masks: a circular mask takes exactly its share of each lead, and goes round the end") {
  for (const Size& s : sizes())
    for (double share : {0.5, 0.25}) {
      NamedRecipe recipe = alone("circular_mask");
      change(recipe, fmt::format("circular_mask.share={}", share));
      int around = 0, total = 0;
      for (const auto& leads : masks(noisy_leads(10, s.L, s.C), recipe.recipe))
        for (const auto& lead : leads) {
          CHECK(count(lead) == static_cast<int>(share * s.L));
          CHECK(stretches(lead, true) == (count(lead) > 0));
          around += stretches(lead, false) == 2;
          ++total;
        }
      // It begins anywhere: with its share as probability it runs over the end.
      if (s.L >= 100) CHECK(std::abs(around - share * total) < 4 * std::sqrt(total * share * (1 - share)) + 1);
    }
}

TEST_CASE("masks: a lead mask takes whole leads by chance, never all") {
  for (const Size& s : sizes()) {
    const int views = 60;
    int taken = 0;
    for (const auto& leads : masks(noisy_leads(views, std::min(s.L, 20), s.C), only("lead_mask"))) {
      int of_view = 0;
      for (const auto& lead : leads) {
        CHECK((count(lead) == 0 || count(lead) == static_cast<int>(lead.size())));
        of_view += count(lead) > 0;
      }
      CHECK(of_view < s.C);
      taken += of_view;
    }
    if (s.C >= 8) CHECK(std::abs(taken - views * s.C * 0.5) < 4 * std::sqrt(views * s.C * 0.25) + 1);
    for (const auto& leads : masks(noisy_leads(10, 5, s.C), alone("lead_mask", {"lead_mask.lead_p=1"}).recipe))
      CHECK(std::count_if(leads.begin(), leads.end(), [](const auto& lead) { return count(lead) == 0; }) == 1);
  }
}

TEST_CASE("masks: lead dropout takes as many leads as it says, each equally often, never all") {
  const int views = 300, C = 12;
  std::vector<int> how_many(4, 0), which(C, 0);
  for (const auto& leads : masks(noisy_leads(views, 3, C), only("lead_dropout"))) {
    int taken = 0;
    for (size_t c = 0; c < C; ++c) {
      taken += count(leads[c]) > 0;
      which[c] += count(leads[c]) > 0;
    }
    REQUIRE((taken >= 1 && taken <= 3));
    ++how_many[static_cast<size_t>(taken)];
  }
  for (size_t taken : {1, 2, 3}) CHECK(std::abs(how_many[taken] - views / 3.0) < 4 * std::sqrt(views * 2 / 9.0));
  for (int times : which) CHECK(std::abs(times - views * 2 / 12.0) < 4 * std::sqrt(views / 6.0 * 5 / 6));
  for (int few : {1, 2, 3})
    for (const auto& leads : masks(noisy_leads(5, 3, few), alone("lead_dropout", {"lead_dropout.leads=1000"}).recipe))
      CHECK(std::count_if(leads.begin(), leads.end(), [](const auto& lead) { return count(lead) > 0; }) == few - 1);
}

TEST_CASE("masks: a lead mask and lead dropout together do not take all leads either") {
  for (int C : {2, 8}) {
    NamedRecipe both = alone("lead_mask", {"lead_mask.lead_p=1", "lead_dropout.p=1", "lead_dropout.leads=1000"});
    for (const auto& leads : masks(noisy_leads(40, 3, C), both.recipe))
      CHECK(std::any_of(leads.begin(), leads.end(), [](const auto& lead) { return count(lead) == 0; }));
  }
}

TEST_CASE("masks: temporal dropout draws straight lines over a share of all leads, in stretches that do not touch") {
  for (const Size& s : sizes()) {
    const int views = 20;
    const Batch batch = noisy_leads(views, s.L, s.C);
    const std::vector<float> with = batch.views(only("temporal_dropout")), without = batch.views({});
    std::vector<int> number(4, 0);
    for (size_t n = 0; n < static_cast<size_t>(views); ++n) {
      const std::vector<float> x = view_of(with, n, s.L, s.C), plain = view_of(without, n, s.L, s.C);
      const auto C = static_cast<size_t>(s.C), L = static_cast<size_t>(s.L);
      const std::vector<bool> bridged = moments_that_differ(x, plain, s.C);
      std::vector<size_t> lengths;
      double worst = 0;
      for (size_t begin = 0; begin < L; ++begin) {
        if (!bridged[begin]) continue;
        size_t end = begin;
        while (end < L && bridged[end]) ++end;
        REQUIRE(end < L);  // the last moment always stays
        for (size_t c = 0; c < C; ++c) {
          const double right = plain[end * C + c], left = begin > 0 ? double{plain[(begin - 1) * C + c]} : right;
          for (size_t l = begin; l < end; ++l)
            worst =
                std::max(worst, std::abs(x[l * C + c] - (left + (right - left) * static_cast<double>(l + 1 - begin) /
                                                                    static_cast<double>(end + 1 - begin))));
        }
        lengths.push_back(end - begin);
        begin = end;
      }
      CHECK(worst < 1e-6);
      const size_t total = std::accumulate(lengths.begin(), lengths.end(), size_t{0});
      CHECK(static_cast<double>(total) <= 0.2 * s.L);
      if (s.L < 100) continue;
      CHECK(static_cast<double>(total) > 0.05 * s.L - 4);  // whole samples, and of equal length
      REQUIRE((!lengths.empty() && lengths.size() <= 3));
      for (size_t length : lengths) CHECK(length == lengths[0]);
      ++number[lengths.size()];
    }
    if (s.L >= 100) CHECK((number[1] > 0 && number[2] > 0 && number[3] > 0));
  }
}

TEST_CASE("masks: stretches of temporal dropout do not touch where there is hardly room for them") {
  const int views = 40, L = 100, C = 8;
  const Batch batch = noisy_leads(views, L, C);
  const std::vector<float>
      with =
          batch.views(alone("temporal_dropout", {"temporal_dropout.share=0.88", "temporal_dropout.segments=8"}).recipe),
      without = batch.views({});
  for (size_t n = 0; n < views; ++n) {
    const std::vector<bool> bridged = moments_that_differ(view_of(with, n, L, C), view_of(without, n, L, C), C);
    CHECK((count(bridged) == 8 * 11 || count(bridged) == 8 * 10));  // 88 samples, or 87 where 0.88 was rounded down
    CHECK(stretches(bridged, false) == 8);
    CHECK_FALSE(bridged.back());
  }
}
