// What holds for views whatever their recipe: which samples they read, what they depend on and what not, and that all
// devices make the same ones.

#include "augment/views.h"

#include <algorithm>
#include <cmath>

#include "tests/augment/batch.h"
#include "tests/kernels/any_schedule.h"

using namespace systole;
using namespace systole::augment;
using namespace systole::test;

namespace {

/// Records of noise on a slow wave, with scales, offsets and a normalisation that differ from lead to lead.
Batch noisy_batch(int R, int L_in, int C, double sampling_rate_hz) {
  Batch batch(R, L_in, C, sampling_rate_hz);
  const std::vector<float> noise = random_normal(batch.samples.size(), 1, 0.3f);
  batch.set_mv([&](int r, int l, int c) {
    return noise[static_cast<size_t>((r * L_in + l) * C + c)] + std::sin(0.02 * l * (1 + r) + c);
  });
  for (size_t i = 0; i < batch.scale.size(); ++i) {
    batch.scale[i] *= static_cast<float>(1 + i % 3);
    batch.offset_mv[i] = 0.1f * static_cast<float>(i % 5) - 0.2f;
  }
  for (size_t c = 0; c < batch.mean_mv.size(); ++c) {
    batch.mean_mv[c] = 0.0317f * static_cast<float>(c % 7) - 0.0913f;
    batch.std_mv[c] = 0.25f * static_cast<float>(1 + c % 4);
  }
  return batch;
}

Recipe with(const std::vector<std::string>& names) {
  NamedRecipe recipe;
  for (const std::string& name : names) change(recipe, name + ".p=1");
  return recipe.recipe;
}

/// Every augmentation at once, vcg only where the leads allow it.
Recipe everything(bool vcg) {
  std::vector<std::string> names;
  for (const Augmentation& a : augmentations())
    if (std::string(a.parameters.front().name) == "p" && (vcg || std::string(a.name) != "vcg"))
      names.emplace_back(a.name);
  return with(names);
}

}  // namespace

TEST_CASE("views: without augmentation every view is the normalised record") {
  const Batch batch = noisy_batch(3, 50, 2, 100);
  const std::vector<float> x = batch.views(find_recipe("none").recipe, 2);
  size_t i = 0;
  for (int v = 0; v < 2; ++v)
    for (int r = 0; r < 3; ++r)
      for (int l = 0; l < 50; ++l)
        for (int c = 0; c < 2; ++c) CHECK(x[i++] == doctest::Approx(batch.normalized(r, l, c)).epsilon(1e-5));
}

TEST_CASE("views: the centre segment is the middle of the record, a random one lies anywhere in it") {
  const Batch batch = noisy_batch(1, 50, 2, 100);
  CHECK(batch.views({}, 1, 20, Segment::centre, 0)[0] == doctest::Approx(batch.normalized(0, 15, 0)).epsilon(1e-5));
  std::vector<int> starts(31, 0);
  for (uint32_t step = 0; step < 10; ++step) {
    const std::vector<float> views = batch.views({}, 200, 20, Segment::random, step);
    for (size_t v = 0; v < 200; ++v)
      for (int start = 0; start <= 30; ++start)
        starts[static_cast<size_t>(start)] += std::abs(views[v * 20 * 2] - batch.normalized(0, start, 0)) < 1e-5f;
  }
  int found = 0;
  for (int count : starts) {
    found += count;
    CHECK(std::abs(count - 2000 / 31.0) < 4 * std::sqrt(2000 / 31.0));
  }
  CHECK(found == 2000);
}

TEST_CASE("views: the schedule changes no bit") {
  const Batch batch = noisy_batch(3, 150, 12, 100);
  check_same_bits_for_any_schedule([&] { return batch.views(everything(true), 2, 130, Segment::random, 0); }, "views");
}

TEST_CASE("views: a view does not depend on the batch around it or on its place there, but on view, step and seed") {
  const int L = 120, C = 12;
  Batch batch = noisy_batch(4, 150, C, 100);
  NamedRecipe recipe{"everything", "", everything(true)};
  for (const char* alone : {"no-mixup", "no-cutmix"}) change(recipe, alone);  // they do look at the batch
  const auto views = [&](uint32_t step) { return batch.views(recipe.recipe, 2, L, Segment::random, step); };
  const std::vector<float> all = views(0);
  batch.records = {2, 0};
  const std::vector<float> some = views(0);
  CHECK(view_of(some, 0, L, C) == view_of(all, 2, L, C));  // record 2, view 0
  CHECK(view_of(some, 2, L, C) == view_of(all, 6, L, C));  // record 2, view 1
  CHECK(view_of(some, 0, L, C) != view_of(some, 2, L, C));
  CHECK(views(1) != some);
  batch.seed += uint64_t{1} << 32;
  CHECK(views(0) != some);
}

TEST_CASE("views: an augmentation that joins a recipe changes no draw of another one") {
  // A mask on top: whatever it leaves is what was there without it.
  const Batch batch = noisy_batch(2, 300, 12, 100);
  NamedRecipe recipe{"everything but cut_out", "", everything(true)};
  const std::vector<float> with_cut_out = batch.views(recipe.recipe);
  change(recipe, "no-cut_out");
  const std::vector<float> without = batch.views(recipe.recipe);
  size_t cut = 0;
  bool same = true;
  for (size_t i = 0; i < without.size(); ++i) {
    const bool is_cut = with_cut_out[i] == 0 && without[i] != 0;
    cut += is_cut;
    same &= is_cut || with_cut_out[i] == without[i];
  }
  CHECK(same);
  CHECK(cut > 0);
}

TEST_CASE("views: every device makes the cpu's draws, and its values to float rounding") {
  // Leads that are and are not a multiple of four, one lead, and more leads than a block has threads; views shorter
  // than their record; as many values as one thread has, and fewer. The filter's circles are 4^k, 2 · 4^k, 3 · 4^k and
  // 6 · 4^k.
  struct Size {
    int L_in, L, C;
    double sampling_rate_hz;
    int N;
  };
  const bool quick = device() == Device::simt, self = device() == Device::cpu;
  for (const Size& s :
       {Size{1000, 1000, 12, 100, 3}, Size{1001, 250, 3, 100, 3}, Size{129, 127, 1, 100, 3}, Size{7, 1, 1, 100, 3},
        Size{4, 4, 2, 100, 3}, Size{40, 33, 300, 100, 2}, Size{2500, 2500, 8, 250, 2}, Size{5000, 5000, 12, 500, 2},
        Size{1000, 500, 16, 100, 3}, Size{900, 900, 4, 100, 2}, Size{1900, 1900, 5, 100, 2}}) {
    const bool large = s.L > 1000, vcg = s.C == 8 || s.C == 12 || s.C == 16;
    Batch batch = noisy_batch(s.N, s.L_in, s.C, s.sampling_rate_hz);
    std::reverse(batch.records.begin(), batch.records.end());
    const int V = quick && large ? 1 : 2;

    std::vector<NamedRecipe> all{{"everything", "", everything(vcg)}, find_recipe("ssrl")};
    if (!self && !(quick && large)) {  // the cpu is compared with itself, on one thread: little is enough
      all.insert(all.end(), recipes().begin(), recipes().end());
      for (const Augmentation& a : augmentations()) all.push_back({a.name, "", augment::only(a)});
    }

    for (const NamedRecipe& recipe : all) {
      if (recipe.recipe.vcg.p > 0 && !vcg) continue;
      for (Segment segment : {Segment::centre, Segment::random, Segment::disjoint}) {
        if (segment != Segment::random && recipe.name != "everything") continue;
        if (segment == Segment::disjoint && V * s.L > s.L_in) continue;
        const uint32_t steps = large ? 1 : 3;
        for (uint32_t step = 0; step < steps; ++step) {
          const std::vector<float> x = batch.views(recipe.recipe, V, s.L, segment, step);
          const std::vector<float> expected = batch.views_of_cpu(recipe.recipe, V, s.L, segment, step);
          const std::string what = fmt::format("{}, L {}, C {}, step {}", recipe.name, s.L, s.C, step);
          // Of the largest value, which is some ten roundings away from a sample: the sums of filter and rotation are
          // taken in another order. Seen: 5 of them. A draw that differed would show with its whole strength.
          // The only sample of a view is compared with what the filter left of it.
          check_close(x, expected, (s.L == 1 && device() == Device::cuda ? 32 : 8) * 0x1p-23, what);
          bool same_zeros = true;
          for (size_t i = 0; i < x.size(); ++i) same_zeros &= (x[i] == 0) == (expected[i] == 0);
          CHECK_MESSAGE(same_zeros, what);
        }
      }
    }
  }
}
