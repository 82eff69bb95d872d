#include "augment/views.h"

#include <algorithm>
#include <cmath>

#include "kernels/common/parallel.h"
#include "tests/support.h"

using namespace systole;
using namespace systole::augment;

namespace {

/// Three records of 50 samples and two leads, with scales, offsets and a normalisation that differ.
struct Fixture {
  static constexpr int kRecords = 3, kLength = 50, kLeads = 2;
  std::vector<int16_t> samples;
  std::vector<float> scale{0.5f, 1, 2, 0.25f, 1, 1}, offset{0, 1, -1, 0, 3, 2}, mean{0.5f, -1}, std{2, 0.5f};
  std::vector<uint32_t> records{0, 1, 2};

  Fixture() {
    for (int i = 0; i < kRecords * kLength * kLeads; ++i) samples.push_back(static_cast<int16_t>((i * 37) % 201 - 100));
  }

  std::vector<float> views(const SimpleRecipe& recipe, int V = 2, int L = kLength, Segment segment = Segment::random,
                           uint32_t step = 0) const {
    const int N = static_cast<int>(records.size());
    std::vector<float> x(static_cast<size_t>(V * N * L * kLeads));
    Queue queue;
    augment_kernels(Device::cpu)
        .views(queue, {N, V, kLength, L, kLeads, segment},
               {samples.data(), scale.data(), offset.data(), mean.data(), std.data(), records.data(), 100}, recipe, 9,
               step, x.data());
    return x;
  }

  float normalized(size_t r, size_t l, size_t c) const {
    return (static_cast<float>(samples[(r * kLength + l) * kLeads + c]) * scale[r * kLeads + c] +
            offset[r * kLeads + c] - mean[c]) /
           std[c];
  }
};

}  // namespace

TEST_CASE("augment: without augmentation every view is the normalised record") {
  const Fixture f;
  const std::vector<float> x = f.views(find_recipe("none"));
  size_t i = 0;
  for (int v = 0; v < 2; ++v)
    for (size_t r = 0; r < 3; ++r)
      for (size_t l = 0; l < 50; ++l)
        for (size_t c = 0; c < 2; ++c) CHECK(x[i++] == doctest::Approx(f.normalized(r, l, c)).epsilon(1e-5));
}

TEST_CASE("augment: the centre segment is the middle of the record, a random one lies anywhere in it") {
  const Fixture f;
  const std::vector<float> x = f.views({}, 1, 20, Segment::centre);
  CHECK(x[0] == doctest::Approx(f.normalized(0, 15, 0)).epsilon(1e-5));
  std::vector<int> starts(31, 0);
  for (uint32_t step = 0; step < 2000; ++step) {
    const float first = f.views({}, 1, 20, Segment::random, step)[0];
    for (size_t start = 0; start <= 30; ++start)
      if (std::abs(first - f.normalized(0, start, 0)) < 1e-5f) ++starts[start];
  }
  CHECK(*std::min_element(starts.begin(), starts.end()) > 20);  // 65 expected of each
}

TEST_CASE("augment: a view does not depend on the batch around it or on threads, but on view and step") {
  Fixture f;
  const SimpleRecipe& recipe = find_recipe("simple");
  const size_t size = 50 * 2;
  const auto part = [&](const std::vector<float>& x, size_t row) {
    return std::vector<float>(x.begin() + static_cast<std::ptrdiff_t>(row * size),
                              x.begin() + static_cast<std::ptrdiff_t>((row + 1) * size));
  };
  const std::vector<float> all = f.views(recipe);
  set_threads(1);
  CHECK(f.views(recipe) == all);
  set_threads(0);
  f.records = {2, 0};
  const std::vector<float> other = f.views(recipe);
  CHECK(part(other, 0) == part(all, 2));  // record 2, view 0
  CHECK(part(other, 2) == part(all, 5));  // record 2, view 1
  bool views_differ = false, steps_differ = false;
  for (uint32_t step = 0; step < 8; ++step) {
    const std::vector<float> x = f.views(recipe, 2, 50, Segment::random, step);
    views_differ |= part(x, 0) != part(x, 2);
    steps_differ |= part(x, 0) != part(other, 0);
  }
  CHECK(views_differ);
  CHECK(steps_differ);
}

TEST_CASE("augment: each augmentation happens at its rate and with its strength") {
  const Fixture f;
  const std::vector<float> plain = f.views({}, 1);
  const auto share_changed = [&](const SimpleRecipe& recipe, const auto& inspect) {
    int changed = 0;
    for (uint32_t step = 0; step < 1000; ++step) {
      const std::vector<float> x = f.views(recipe, 1, 50, Segment::random, step);
      const bool differs = !std::equal(x.begin(), x.begin() + 100, plain.begin());
      changed += differs;
      if (differs) inspect(x);
    }
    return changed / 1000.0;
  };
  const double three_sigma = 3 * std::sqrt(0.3 * 0.7 / 1000);

  CHECK(share_changed({.gain_p = 0.3f, .gain_low = 0.5f, .gain_high = 0.8f}, [&](const std::vector<float>& x) {
          for (size_t lead : {0u, 1u}) {
            const float gain = x[10 + lead] / plain[10 + lead];
            CHECK((gain >= 0.4999f && gain <= 0.8001f));
            CHECK(x[76 + lead] == doctest::Approx(gain * plain[76 + lead]).epsilon(1e-4));
          }
        }) == doctest::Approx(0.3).epsilon(three_sigma / 0.3));

  double squares = 0, count = 0;
  CHECK(share_changed({.noise_p = 0.3f, .noise_std_high = 0.6f}, [&](const std::vector<float>& x) {
          for (size_t i = 0; i < 100; ++i) squares += std::pow(x[i] - plain[i], 2);
          count += 100;
        }) == doctest::Approx(0.3).epsilon(three_sigma / 0.3));
  CHECK(squares / count == doctest::Approx(0.36 / 3).epsilon(0.15));  // E[s²] of s ~ U(0, 0.6)

  CHECK(share_changed({.wander_p = 0.3f, .wander_high = 0.5f}, [&](const std::vector<float>& x) {
          for (size_t i = 0; i < 100; ++i) CHECK(std::abs(x[i] - plain[i]) <= 0.5001f);
        }) == doctest::Approx(0.3).epsilon(three_sigma / 0.3));

  CHECK(share_changed({.mask_p = 0.3f, .mask_share_low = 0.2f, .mask_share_high = 0.5f},
                      [&](const std::vector<float>& x) {
                        size_t zeros = 0;
                        for (size_t i = 0; i < 100; ++i) {
                          CHECK((x[i] == 0 || x[i] == plain[i]));
                          zeros += x[i] == 0;
                        }
                        CHECK((zeros >= 20 && zeros <= 52));
                      }) == doctest::Approx(0.3).epsilon(three_sigma / 0.3));
}

TEST_CASE("augment: an unknown recipe is refused with the names that exist") {
  CHECK(test::sentence_of<UsageError>([] { find_recipe("strong"); }) ==
        "unknown augmentation recipe 'strong'; expected one of none, simple");
}
