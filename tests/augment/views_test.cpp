#include "augment/views.h"

#include <algorithm>
#include <cmath>

#include "kernels/common/parallel.h"
#include "tests/device.h"
#include "tests/kernels/any_schedule.h"
#include "tests/support.h"

using namespace systole;
using namespace systole::augment;

namespace {

constexpr double kSamplingRate = 100;
constexpr uint64_t kSeed = 9;

/// Records with scales, offsets and a normalisation that differ.
struct Fixture {
  int length, leads;
  std::vector<int16_t> samples;
  std::vector<float> scale{0.5f, 1, 2, 0.25f, 1, 1}, offset{0, 1, -1, 0, 3, 2}, mean{0.5f, -1}, std{2, 0.5f};
  std::vector<uint32_t> records{0, 1, 2};

  /// Three records of 50 samples and two leads.
  Fixture() : Fixture(3, 50, 2) {}
  Fixture(int count, int length_, int leads_) : length(length_), leads(leads_) {
    for (int i = 0; i < count * length * leads; ++i) samples.push_back(static_cast<int16_t>((i * 37) % 201 - 100));
    for (auto* per_record : {&scale, &offset}) repeat(*per_record, count * leads);
    for (auto* per_lead : {&mean, &std}) repeat(*per_lead, leads);
  }

  std::vector<float> views(const SimpleRecipe& recipe, int V, int L, Segment segment = Segment::random,
                           uint32_t step = 0) const {
    std::vector<float> x = empty_views(V, L);
    {
      test::OnDevice d;
      const ViewSource source{d.in(samples), d.in(scale),   d.in(offset), d.in(mean),
                              d.in(std),     d.in(records), kSamplingRate};
      augment_kernels(test::device()).views(d.queue(), shape(V, L, segment), source, recipe, kSeed, step, d.out(x));
    }
    return x;
  }
  std::vector<float> views(const SimpleRecipe& recipe, int V = 2) const { return views(recipe, V, length); }

  /// What the cpu makes, whatever device is tested.
  std::vector<float> views_of_cpu(const SimpleRecipe& recipe, int V, int L, Segment segment, uint32_t step) const {
    std::vector<float> x = empty_views(V, L);
    Queue queue;
    const ViewSource source{samples.data(), scale.data(),   offset.data(), mean.data(),
                            std.data(),     records.data(), kSamplingRate};
    set_threads(1);  // ThreadSanitizer, which watches the simt device, takes OpenMP's own barriers for races
    cpu::augment.views(queue, shape(V, L, segment), source, recipe, kSeed, step, x.data());
    set_threads(0);
    return x;
  }

  float normalized(size_t r, size_t l, size_t c) const {
    const auto L_in = static_cast<size_t>(length), C = static_cast<size_t>(leads);
    return (static_cast<float>(samples[(r * L_in + l) * C + c]) * scale[r * C + c] + offset[r * C + c] - mean[c]) /
           std[c];
  }

 private:
  ViewShape shape(int V, int L, Segment segment) const {
    return {static_cast<int>(records.size()), V, length, L, leads, segment};
  }
  std::vector<float> empty_views(int V, int L) const {
    return std::vector<float>(static_cast<size_t>(V * L * leads) * records.size(), NAN);
  }
  static void repeat(std::vector<float>& values, int count) {
    for (size_t i = 0; values.size() < static_cast<size_t>(count); ++i) values.push_back(values[i]);
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

TEST_CASE("augment: a view does not depend on the batch around it or on the schedule, but on view and step") {
  Fixture f;
  const SimpleRecipe& recipe = find_recipe("simple");
  const size_t size = 50 * 2;
  const auto part = [&](const std::vector<float>& x, size_t row) {
    return std::vector<float>(x.begin() + static_cast<std::ptrdiff_t>(row * size),
                              x.begin() + static_cast<std::ptrdiff_t>((row + 1) * size));
  };
  const std::vector<float> all = f.views(recipe);
  test::check_same_bits_for_any_schedule([&] { return f.views(recipe); }, "views");
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

TEST_CASE("augment: every device makes the cpu's draws, and its values to float rounding") {
  // Leads that are and are not a multiple of four, one lead, and more leads than a block has threads; views shorter
  // than their record; as many values as one thread has, and fewer.
  struct Size {
    int L_in, L, C;
  };
  for (const Size& s : {Size{1000, 1000, 12}, {1001, 250, 3}, {129, 127, 1}, {7, 1, 1}, {4, 4, 2}, {40, 33, 300}}) {
    const Fixture f(3, s.L_in, s.C);
    for (uint32_t step = 0; step < 10; ++step)
      for (Segment segment : {Segment::centre, Segment::random}) {
        const SimpleRecipe& recipe = find_recipe("simple");
        const std::vector<float> x = f.views(recipe, 2, s.L, segment, step);
        const std::vector<float> expected = f.views_of_cpu(recipe, 2, s.L, segment, step);
        // One rounding of a sample of 200 with its factor, and a normal number within a few ulp; a draw that differed
        // would show with its whole strength.
        test::check_close(x, expected, 4 * 0x1p-23, fmt::format("L {}, C {}, step {}", s.L, s.C, step));
        bool same_mask = true;
        for (size_t i = 0; i < x.size(); ++i) same_mask &= (x[i] == 0) == (expected[i] == 0);
        CHECK(same_mask);
      }
  }
}

TEST_CASE("augment: an unknown recipe is refused with the names that exist") {
  CHECK(test::sentence_of<UsageError>([] { find_recipe("strong"); }) ==
        "unknown augmentation recipe 'strong'; expected one of none, simple");
}
