// The contrastive losses as operations: value and gradients, of a learned temperature too, against their definitions
// with the whole matrix in double.

#include "engine/contrastive.h"

#include <cmath>

#include "engine/operations.h"
#include "tests/engine/operation_check.h"
#include "tests/reference/contrastive.h"

using namespace systole;
using test::check_operation, test::Doubles;
namespace reference = systole::test::reference;

namespace {

using Ids = std::vector<int32_t>;

Tensor ids_tensor(const Ids& ids) {
  return test::tensor(ids, {static_cast<int64_t>(ids.size())});
}

/// A direction of a loss as its formula stands: rows x against columns y, both of unit length.
struct Definition {
  bool same_rows = false, positives_in_denominator = true, mean_over_positives = false;

  double loss(int D, double temperature, const Doubles& x, const Doubles& y, const Ids& rows,
              const Ids& columns) const {
    double total = 0, weights = 0;
    for (size_t i = 0; i < rows.size(); ++i) {
      double sum = 0, positive = 0;
      int positives = 0;
      for (size_t j = 0; j < columns.size(); ++j) {
        if (same_rows && i == j) continue;
        double s = 0;
        for (int d = 0; d < D; ++d) s += x[i * D + d] * y[j * D + d];
        const bool is_positive = rows[i] == columns[j];
        if (is_positive) positive += s / temperature, ++positives;
        if (!is_positive || positives_in_denominator) sum += std::exp(s / temperature);
      }
      if (positives == 0) continue;
      const double weight = mean_over_positives ? positives : 1;
      total += weight * (std::log(sum) - positive / positives);
      weights += weight;
    }
    return weights > 0 ? total / weights : 0;
  }
};

Doubles unit(const Doubles& x, int D) {
  return reference::l2_normalize(static_cast<int>(x.size()) / D, D, x);
}

constexpr int kD = 5;
const test::Input kLogScale{{1}, 3, 1.2f, 0.1f};  // τ about 0.3

}  // namespace

TEST_CASE("engine: l2_normalize") {
  check_operation(
      "l2_normalize", {{{4, 7}, 1}}, [](const auto& t) { return l2_normalize(t[0]); },
      [](const auto& v) { return reference::l2_normalize(4, 7, v[0]); });
}

TEST_CASE("engine: NT-Xent with a fixed and a learned temperature") {
  for (float temperature : {0.07f, 0.5f})
    check_operation(
        "nt_xent", {{{6, kD}, 1}}, [&](const auto& t) { return nt_xent(t[0], temperature); },
        [&](const auto& v) { return Doubles{reference::nt_xent<double>(6, kD, temperature, unit(v[0], kD)).loss}; });
  check_operation(
      "nt_xent", {{{6, kD}, 1}, kLogScale}, [](const auto& t) { return nt_xent(t[0], Temperature::learned(t[1])); },
      [](const auto& v) {
        return Doubles{reference::nt_xent<double>(6, kD, std::exp(-v[1][0]), unit(v[0], kD)).loss};
      });
}

TEST_CASE("engine: a loss over one set has positives by ids, and can leave them out of the denominator") {
  const Ids ids{0, 1, 2, 0, 1, 2, 1, 7};  // the last has no positive
  for (bool in_denominator : {true, false})
    check_operation(
        in_denominator ? "SupCon" : "DCL", {{{8, kD}, 1}, kLogScale},
        [&](const auto& t) {
          const PairLossResult result =
              pair_loss(t[0], ids_tensor(ids),
                        {.temperature = Temperature::learned(t[1]), .positives_in_denominator = in_denominator});
          CHECK(result.left_out.template to_vector<int32_t>() == Ids{1});
          return result.loss;
        },
        [&](const auto& v) {
          const Doubles z = unit(v[0], kD);
          return Doubles{Definition{.same_rows = true, .positives_in_denominator = in_denominator}.loss(
              kD, std::exp(-v[1][0]), z, z, ids, ids)};
        });
}

TEST_CASE("engine: a loss over two sets, in one direction and in both") {
  const Ids rows{0, 1, 2, 5}, columns{2, 1, 0, -1, -1, 1};
  for (Directions directions : {Directions::rows, Directions::both}) {
    const bool both = directions == Directions::both;
    check_operation(
        both ? "CLIP" : "InfoNCE", {{{4, kD}, 1}, {{6, kD}, 2}, kLogScale},
        [&](const auto& t) {
          const PairLossResult result = pair_loss(t[0], t[1], ids_tensor(rows), ids_tensor(columns), directions,
                                                  {.temperature = Temperature::learned(t[2])});
          CHECK(result.left_out.template to_vector<int32_t>() == (both ? Ids{1, 2} : Ids{1}));
          return result.loss;
        },
        [&](const auto& v) {
          const Doubles x = unit(v[0], kD), y = unit(v[1], kD);
          const double temperature = std::exp(-v[2][0]);
          const double there = Definition{}.loss(kD, temperature, x, y, rows, columns);
          const double back = Definition{}.loss(kD, temperature, y, x, columns, rows);
          return Doubles{both ? (there + back) / 2 : there};
        });
  }
}

TEST_CASE("engine: a set of rows without a node gets no gradient, and the other its own") {
  const Ids ids{0, 1, 2};
  const Tensor queue = test::tensor(test::random_normal(3 * kD, 8), {3, kD});
  const Doubles keys = unit(test::to_double(queue.to_vector()), kD);
  check_operation(
      "MoCo", {{{3, kD}, 1}},
      [&](const auto& t) {
        return pair_loss(t[0], queue, ids_tensor(ids), ids_tensor(ids), Directions::rows, {.temperature = 0.2f}).loss;
      },
      [&](const auto& v) { return Doubles{Definition{}.loss(kD, 0.2f, unit(v[0], kD), keys, ids, ids)}; });
}

TEST_CASE("engine: CLOCS is the mean over all pairs of slots, in both directions, and over all positives") {
  const Ids patients{4, 9, 4};
  for (int slots : {2, 3, 16}) {
    int pairs = 0;
    check_operation(
        fmt::format("CLOCS of {} slots", slots), {{{3 * slots, kD}, 1}, kLogScale},
        [&](const auto& t) { return clocs(t[0], slots, ids_tensor(patients), Temperature::learned(t[1])); },
        [&](const auto& v) {
          const Doubles z = unit(v[0], kD);
          const auto slot = [&](int a) { return Doubles(z.begin() + a * 3 * kD, z.begin() + (a + 1) * 3 * kD); };
          double sum = 0;
          pairs = 0;
          for (int a = 0; a < slots; ++a)
            for (int b = 0; b < slots; ++b)
              if (a != b) {
                sum += Definition{.mean_over_positives = true}.loss(kD, std::exp(-v[1][0]), slot(a), slot(b), patients,
                                                                    patients);
                ++pairs;
              }
          return Doubles{sum / pairs};
        });
    CHECK(pairs == slots * (slots - 1));  // 240 directions of 120 pairs for 16 slots
  }
}

TEST_CASE("engine: SigLIP asks every pair for itself, with a learned temperature and bias") {
  const Ids rows{0, 1, 2, 5}, columns{2, 1, 0, -1, -1, 1};
  check_operation(
      "SigLIP", {{{4, kD}, 1}, {{6, kD}, 2}, kLogScale, {{1}, 4, -2.0f, 0.1f}},
      [&](const auto& t) {
        return siglip(t[0], t[1], ids_tensor(rows), ids_tensor(columns), Temperature::learned(t[2]), t[3]);
      },
      [&](const auto& v) {
        const Doubles x = unit(v[0], kD), y = unit(v[1], kD);
        double sum = 0;
        for (size_t i = 0; i < rows.size(); ++i)
          for (size_t j = 0; j < columns.size(); ++j) {
            double s = 0;
            for (int d = 0; d < kD; ++d) s += x[i * kD + d] * y[j * kD + d];
            const double u = s * std::exp(v[2][0]) + v[3][0];
            sum += std::log1p(std::exp(rows[i] == columns[j] ? -u : u));
          }
        return Doubles{sum / 24};
      });
}

TEST_CASE("engine: contrastive losses refuse what does not fit, with the shapes") {
  const Tensor x = test::zeros({4, 3});
  const Tensor ids = ids_tensor({0, 1, 0, 1});
  const auto sentence = [](const auto& action) { return test::sentence_of<Error>(action); };
  CHECK(sentence([&] { nt_xent(test::zeros({5, 3}), 0.1f); }).find("5") != std::string::npos);
  CHECK(sentence([&] { nt_xent(x, 0); }).find("0") != std::string::npos);
  CHECK(sentence([&] { pair_loss(x, ids_tensor({0, 1}), {}); }).find("expected 4 whole numbers") != std::string::npos);
  CHECK(sentence([&] { pair_loss(x, ids, {.temperature = -1.0f}); }).find("-1") != std::string::npos);
  CHECK(sentence([&] {
          pair_loss(x, test::zeros({4, 2}), ids, ids, Directions::rows, {});
        }).find("[4, 2]") != std::string::npos);
  CHECK(sentence([&] { clocs(x, 3, ids, 0.1f); }).find("4 rows are no 3 slots") != std::string::npos);
}
