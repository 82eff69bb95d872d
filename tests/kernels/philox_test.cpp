// Philox against its published vectors, and what the streams promise.

#include "kernels/common/philox.h"

#include <algorithm>
#include <array>
#include <set>

#include "tests/support.h"

using namespace systole;
using namespace systole::test;

namespace {

constexpr uint32_t kDraws = 100000;
constexpr uint64_t kSeed = 20240229;  // fixed: a statistical test of a fixed sequence passes always or never

void check_block(Philox4 counter, uint32_t key0, uint32_t key1, std::array<uint32_t, 4> expected) {
  const Philox4 words = philox4x32_10(counter, key0, key1);
  for (size_t i = 0; i < 4; ++i) CHECK(words.word[i] == expected[i]);
}

/// Kolmogorov's distance between the draws and a distribution function, times sqrt(count): above 1.63 once in a
/// hundred.
template <class Distribution>
double kolmogorov(std::vector<double> draws, const Distribution& distribution) {
  std::sort(draws.begin(), draws.end());
  const auto count = static_cast<double>(draws.size());
  double largest = 0;
  for (size_t i = 0; i < draws.size(); ++i) {
    const double f = distribution(draws[i]);
    largest = std::max({largest, f - static_cast<double>(i) / count, static_cast<double>(i + 1) / count - f});
  }
  return largest * std::sqrt(count);
}

}  // namespace

TEST_CASE("philox: the known answers of Random123") {  // kat_vectors of Random123 1.14, philox4x32 with 10 rounds
  check_block({{0, 0, 0, 0}}, 0, 0, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
  check_block({{~0u, ~0u, ~0u, ~0u}}, ~0u, ~0u, {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd});
  check_block({{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}}, 0xa4093822, 0x299f31d0,
              {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1});
}

TEST_CASE("philox: every part of a stream's name counts") {
  const std::vector<RandomStream> streams = {{1, Purpose::test},
                                             {2, Purpose::test},
                                             {1 + (uint64_t{1} << 32), Purpose::test},
                                             {1, Purpose::dropout},
                                             {1, Purpose::test, 1},
                                             {1, Purpose::test, 0, 1},
                                             {1, Purpose::test, 0, 0, 1},
                                             {1, Purpose::test, 0, 0, 0, 1}};
  std::set<uint32_t> seen;
  for (const RandomStream& stream : streams)
    for (uint32_t i = 0; i < 8; ++i) seen.insert(stream.bits(i));
  CHECK(seen.size() == 8 * streams.size());
  CHECK(RandomStream(1, Purpose::test, 2, 3, 4, 5).bits(6) == RandomStream(1, Purpose::test, 2, 3, 4, 5).bits(6));
}

TEST_CASE("philox: draws of a block are the draws of the stream, in order") {
  const RandomStream stream(kSeed, Purpose::test, 1, 2, 3, 4);
  for (uint32_t i = 0; i < 64; ++i) CHECK(stream.bits(i) == stream.block(i / 4).word[i % 4]);
}

TEST_CASE("philox: uniform numbers lie in [0, 1) and are uniform") {
  CHECK(RandomStream::to_uniform(0) == 0.0f);
  CHECK(RandomStream::to_uniform(~0u) < 1.0f);
  const RandomStream stream(kSeed, Purpose::test);
  std::vector<double> draws;
  for (uint32_t i = 0; i < kDraws; ++i) draws.push_back(stream.uniform(i));
  CHECK(*std::min_element(draws.begin(), draws.end()) >= 0);
  CHECK(*std::max_element(draws.begin(), draws.end()) < 1);
  CHECK(kolmogorov(draws, [](double x) { return x; }) < 1.63);
  for (uint32_t i = 0; i < 1000; ++i) {
    const float x = stream.uniform(i, -3, 5);
    CHECK((x >= -3 && x <= 5));
  }
}

TEST_CASE("philox: normal numbers have the normal's moments and distribution") {
  const RandomStream stream(kSeed, Purpose::test, 1);
  std::vector<double> draws;
  for (uint32_t i = 0; i < kDraws; ++i) draws.push_back(stream.normal(i));
  std::array<double, 5> moment{};
  double of_pairs = 0;
  for (uint32_t i = 0; i < kDraws; ++i) {
    for (size_t k = 1; k < moment.size(); ++k) moment[k] += std::pow(draws[i], k) / kDraws;
    if (i % 2) of_pairs += 2 * draws[i] * draws[i - 1] / kDraws;
  }
  const double error = 1 / std::sqrt(double{kDraws});  // bounds: four standard errors
  CHECK(std::abs(moment[1]) < 4 * error);
  CHECK(std::abs(moment[2] - 1) < 4 * error * std::sqrt(2.0));
  CHECK(std::abs(moment[3]) < 4 * error * std::sqrt(15.0));
  CHECK(std::abs(moment[4] - 3) < 4 * error * std::sqrt(96.0));
  CHECK(std::abs(of_pairs) < 4 * error * std::sqrt(2.0));
  CHECK(kolmogorov(draws, [](double x) { return std::erfc(-x / std::sqrt(2.0)) / 2; }) < 1.63);
}

TEST_CASE("philox: below gives every whole number equally often") {
  const RandomStream stream(kSeed, Purpose::test, 2);
  std::array<double, 7> counts{};
  for (uint32_t i = 0; i < kDraws; ++i) counts.at(stream.below(i, 7)) += 1;
  double chi_squared = 0;
  for (double count : counts) chi_squared += (count - kDraws / 7.0) * (count - kDraws / 7.0) / (kDraws / 7.0);
  CHECK(chi_squared < 16.8);  // the 99th percentile at 6 degrees of freedom
  CHECK(stream.below(0, 1) == 0);
}
