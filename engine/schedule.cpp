#include "engine/schedule.h"

#include <cmath>
#include <fmt/format.h>
#include <numbers>

#include "kernels/common/error.h"

namespace systole {
namespace {

void check_rate(double rate, const char* what) {
  if (!(rate >= 0) || std::isinf(rate))
    throw Error(fmt::format("the {} learning rate is {}; expected a finite number that is not negative", what, rate));
}

}  // namespace

double Schedule::at(int64_t step) const {
  if (step < warmup_steps) return base * static_cast<double>(step + 1) / static_cast<double>(warmup_steps);
  if (kind == Kind::constant) return base;
  if (step >= total_steps) return final;
  const double progress = static_cast<double>(step - warmup_steps) / static_cast<double>(total_steps - warmup_steps);
  return final + (base - final) * (1 + std::cos(std::numbers::pi * progress)) / 2;
}

void check(const Schedule& schedule) {
  check_rate(schedule.base, "base");
  check_rate(schedule.final, "final");
  if (schedule.total_steps < 1)
    throw Error(fmt::format("a learning-rate schedule of {} steps; expected at least 1", schedule.total_steps));
  if (schedule.warmup_steps < 0 || schedule.warmup_steps > schedule.total_steps)
    throw Error(fmt::format("a warm-up of {} steps in a schedule of {}; expected between 0 and all of them",
                            schedule.warmup_steps, schedule.total_steps));
}

}  // namespace systole
