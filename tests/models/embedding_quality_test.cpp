#include "models/embedding_quality.h"

#include <cmath>

#include "tests/support.h"
#include "tests/tensors.h"

using namespace systole;
using namespace systole::test;
using models::embedding_quality;
using models::EmbeddingQuality;

namespace {

std::vector<double> unit_row(const std::vector<float>& x, int64_t row, int64_t D) {
  std::vector<double> z(x.begin() + row * D, x.begin() + (row + 1) * D);
  double squares = 0;
  for (const double value : z) squares += value * value;
  for (double& value : z) value /= std::sqrt(squares);
  return z;
}

double squared_distance(const std::vector<double>& a, const std::vector<double>& b) {
  double sum = 0;
  for (size_t d = 0; d < a.size(); ++d) sum += (a[d] - b[d]) * (a[d] - b[d]);
  return sum;
}

}  // namespace

TEST_CASE("embedding quality: the formulas of Wang and Isola on random rows") {
  for (const auto& [slots, N, D] : {std::array<int64_t, 3>{2, 2, 1}, {2, 9, 5}, {4, 7, 16}, {3, 13, 33}}) {
    const auto x = random_normal(static_cast<size_t>(slots * N * D), static_cast<uint32_t>(N));
    double alignment = 0, potential = 0, variance = 0, pairs = 0, others = 0;
    for (int64_t a = 0; a < slots; ++a) {
      std::vector<double> mean(static_cast<size_t>(D), 0);
      for (int64_t i = 0; i < N; ++i) {
        const std::vector<double> z = unit_row(x, a * N + i, D);
        for (size_t d = 0; d < z.size(); ++d) mean[d] += z[d] / static_cast<double>(N);
        for (int64_t b = 0; b < slots; ++b)
          if (b != a) alignment += squared_distance(z, unit_row(x, b * N + i, D)), ++pairs;
        for (int64_t j = 0; j < N; ++j)
          if (j != i) potential += std::exp(-2 * squared_distance(z, unit_row(x, a * N + j, D))), ++others;
      }
      variance += (1 - squared_distance(mean, std::vector<double>(mean.size(), 0))) / static_cast<double>(slots);
    }
    const EmbeddingQuality found = embedding_quality(tensor(x, {slots * N, D}), N);
    CHECK(found.alignment == doctest::Approx(alignment / pairs).epsilon(1e-5));
    CHECK(found.uniformity == doctest::Approx(std::log(potential / others)).epsilon(1e-5));
    CHECK(found.variance == doctest::Approx(variance).epsilon(1e-5));
  }
}

TEST_CASE("embedding quality: one point for all is 0, 0, 0, of whatever length, and rows of zeros count as points") {
  const int64_t N = 6;
  std::vector<float> x;
  for (int64_t row = 0; row < 2 * N; ++row)
    for (const float value : {3.0f, -4.0f}) x.push_back(value * static_cast<float>(row + 1));
  const EmbeddingQuality one_point = embedding_quality(tensor(x, {2 * N, 2}), N);
  CHECK(one_point.alignment == doctest::Approx(0));
  CHECK(one_point.uniformity == doctest::Approx(0));
  CHECK(one_point.variance == doctest::Approx(0));
  CHECK(std::isfinite(embedding_quality(zeros({2 * N, 2}), N).uniformity));
}

TEST_CASE("embedding quality: of a large batch the first records are measured") {
  const int64_t N = EmbeddingQuality::kRecords + 5, D = 3, kept = EmbeddingQuality::kRecords;
  const std::vector<float> x = random_normal(static_cast<size_t>(2 * N * D), 3);
  std::vector<float> first;
  for (const int64_t slot : {int64_t{0}, N})
    first.insert(first.end(), x.begin() + slot * D, x.begin() + (slot + kept) * D);
  const EmbeddingQuality all = embedding_quality(tensor(x, {2 * N, D}), N),
                         some = embedding_quality(tensor(first, {2 * kept, D}), kept);
  CHECK(all.alignment == some.alignment);
  CHECK(all.uniformity == some.uniformity);
  CHECK(all.variance == some.variance);
  CHECK_THROWS_AS(embedding_quality(tensor(x, {2 * N, D}), 1), Error);
}
