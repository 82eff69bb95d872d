#include "engine/schedule.h"

#include "kernels/common/error.h"
#include "tests/support.h"

namespace systole::test {
namespace {

using Kind = Schedule::Kind;

TEST_CASE("schedule: a constant rate is the base at every step") {
  const Schedule schedule{.base = 1e-3, .total_steps = 10};
  for (int64_t step : {0, 5, 9, 10, 1000}) CHECK(schedule.at(step) == 1e-3);
}

TEST_CASE("schedule: the warm-up is a straight line that reaches the base at its last step") {
  for (Kind kind : {Kind::constant, Kind::cosine}) {
    const Schedule schedule{.kind = kind, .base = 0.4, .warmup_steps = 4, .total_steps = 20};
    for (int64_t step = 0; step < 4; ++step)
      CHECK(schedule.at(step) == doctest::Approx(0.1 * static_cast<double>(step + 1)));
    CHECK(schedule.at(4) == doctest::Approx(0.4));
  }
}

TEST_CASE("schedule: the cosine starts at the base, is half way in the middle and stays at the final value") {
  const Schedule schedule{.kind = Kind::cosine, .base = 1, .final = 0.2, .warmup_steps = 10, .total_steps = 110};
  CHECK(schedule.at(10) == 1);
  CHECK(schedule.at(60) == doctest::Approx(0.6));
  CHECK(schedule.at(35) == doctest::Approx(0.2 + 0.8 * (1 + std::sqrt(0.5)) / 2));  // cos(π/4)
  CHECK(schedule.at(110) == 0.2);
  CHECK(schedule.at(5000) == 0.2);
  for (int64_t step = 10; step < 110; ++step) CHECK(schedule.at(step + 1) < schedule.at(step));
}

TEST_CASE("schedule: a warm-up over all steps leaves nothing to the cosine") {
  const Schedule schedule{.kind = Kind::cosine, .base = 1, .warmup_steps = 8, .total_steps = 8};
  check(schedule);
  CHECK(schedule.at(7) == 1);
  CHECK(schedule.at(8) == 0);
}

TEST_CASE("schedule: what cannot be is refused with its value") {
  CHECK(sentence_of<Error>([] { check({.base = -0.1, .total_steps = 5}); }).find("-0.1") != std::string::npos);
  CHECK(sentence_of<Error>([] { check({.base = NAN, .total_steps = 5}); }).find("nan") != std::string::npos);
  CHECK(sentence_of<Error>([] { check({.base = 1, .final = INFINITY, .total_steps = 5}); }).find("final") !=
        std::string::npos);
  CHECK(sentence_of<Error>([] { check({.base = 1, .total_steps = 0}); }).find("0 steps") != std::string::npos);
  CHECK(sentence_of<Error>([] { check({.base = 1, .warmup_steps = 6, .total_steps = 5}); }).find("6 steps") !=
        std::string::npos);
  CHECK_THROWS_AS(check({.base = 1, .warmup_steps = -1, .total_steps = 5}), Error);
}

}  // namespace
}  // namespace systole::test
