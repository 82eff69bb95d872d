// What the tests share: seeded random inputs, comparisons that name the worst element, temporary folders, real test
// data.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <doctest/doctest.h>
#include <filesystem>
#include <fmt/format.h>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "kernels/common/philox.h"

namespace systole::test {

/// The seed of all random inputs: SYSTOLE_TEST_SEED or 1. A failing check prints it.
inline uint64_t seed() {
  const char* text = std::getenv("SYSTOLE_TEST_SEED");
  return text ? std::strtoull(text, nullptr, 10) : 1;
}

/// `count` normal numbers; `which` tells the inputs of one test apart.
inline std::vector<float> random_normal(size_t count, uint32_t which, float scale = 1.0f) {
  const RandomStream stream(seed(), Purpose::test, 0, which);
  std::vector<float> values(count);
  for (size_t i = 0; i < count; ++i) values[i] = scale * stream.normal(static_cast<uint32_t>(i));
  return values;
}

inline std::vector<double> to_double(const std::vector<float>& values) {
  return {values.begin(), values.end()};
}

/// Largest |a − b|. A NaN on one side counts as infinite.
template <class A, class B>
double max_error(const std::vector<A>& a, const std::vector<B>& b) {
  REQUIRE(a.size() == b.size());
  double worst = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    const double error = std::abs(static_cast<double>(a[i]) - static_cast<double>(b[i]));
    if (!(error <= worst)) worst = std::isnan(error) ? INFINITY : error;
  }
  return worst;
}

template <class T>
double max_magnitude(const std::vector<T>& values) {
  double largest = 0;
  for (T v : values) largest = std::max(largest, std::abs(static_cast<double>(v)));
  return largest;
}

/// The rule for float kernels: against a reference in double, at most twice the error that a plain float implementation
/// makes (and never asked to be better than four roundings of the largest value).
template <class Plain>
void check_as_good_as_plain(const std::vector<float>& kernel, const std::vector<Plain>& plain_float,
                            const std::vector<double>& exact, const std::string& what, double times = 2) {
  const double floor = 2 * times * 0x1p-24 * max_magnitude(exact);
  const double allowed = std::max(times * max_error(plain_float, exact), floor);
  const double error = max_error(kernel, exact);
  CHECK_MESSAGE(error <= allowed,
                fmt::format("{}: error {:.3g}, allowed {:.3g}, SYSTOLE_TEST_SEED={}", what, error, allowed, seed()));
}

/// Central differences of the scalar function f at x, in double.
template <class F>
std::vector<double> finite_differences(const F& f, std::vector<double> x, double h = 1e-5) {
  std::vector<double> gradient(x.size());
  for (size_t i = 0; i < x.size(); ++i) {
    const double centre = x[i];
    x[i] = centre + h;
    const double above = f(x);
    x[i] = centre - h;
    const double below = f(x);
    x[i] = centre;
    gradient[i] = (above - below) / (2 * h);
  }
  return gradient;
}

/// |a − b| ≤ tolerance · (largest magnitude of b), for every element.
template <class A, class B>
void check_close(const std::vector<A>& a, const std::vector<B>& b, double tolerance, const std::string& what) {
  const double scale = std::max(max_magnitude(b), 1e-30);
  const double error = max_error(a, b);
  CHECK_MESSAGE(error <= tolerance * scale,
                fmt::format("{}: relative error {:.3g}, allowed {:.3g}, SYSTOLE_TEST_SEED={}", what, error / scale,
                            tolerance, seed()));
}

/// A folder that is removed with its content at the end of the test.
class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string pattern = (std::filesystem::temp_directory_path() / "systole_test_XXXXXX").string();
    REQUIRE(mkdtemp(pattern.data()) != nullptr);
    path_ = pattern;
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path operator/(const std::string& name) const { return path_ / name; }

 private:
  std::filesystem::path path_;
};

inline void write_file(const std::filesystem::path& path, const std::string& content) {
  std::filesystem::create_directories(path.parent_path());
  std::ofstream(path, std::ios::binary) << content;
}

inline std::string read_file(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  REQUIRE_MESSAGE(file.good(), path.string());
  std::ostringstream content;
  content << file.rdbuf();
  return content.str();
}

/// The source folder: the environment's SYSTOLE_SOURCE_DIR where the program was built elsewhere.
inline std::filesystem::path source_folder() {
  const char* moved = std::getenv("SYSTOLE_SOURCE_DIR");
  return moved ? moved : SYSTOLE_SOURCE_DIR;
}

/// A folder of real ECGs below SYSTOLE_TEST_DATA (default ../shared/data beside the source); empty, after saying so,
/// when it is not there: the test then returns.
inline std::filesystem::path real_data(const std::string& folder) {
  const char* root = std::getenv("SYSTOLE_TEST_DATA");
  std::filesystem::path path = (root ? std::filesystem::path(root) : source_folder() / "../shared/data") / folder;
  if (std::filesystem::exists(path)) return path;
  MESSAGE("skipped: no real data at " << path.string() << " (set SYSTOLE_TEST_DATA)");
  return {};
}

inline std::filesystem::path golden(const std::string& name) {
  return source_folder() / "tests/golden" / name;
}

/// The sentence of the exception that `action` throws; fails the test when it throws none.
template <class Exception, class Action>
std::string sentence_of(const Action& action) {
  try {
    action();
  } catch (const Exception& error) {
    return error.what();
  }
  FAIL_CHECK("nothing was thrown");
  return {};
}

}  // namespace systole::test
