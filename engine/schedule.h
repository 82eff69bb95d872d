// Learning rates as functions of the step: constant, or half a cosine (Loshchilov and Hutter, "SGDR", ICLR 2017,
// without restarts) down to a final value; in front of either a linear warm-up (Goyal et al. 2017).
//   warm-up   at(t) = base · (t + 1) / warmup_steps                                          for t < warmup_steps
//   cosine    at(t) = final + (base − final) · (1 + cos(π · (t − warmup) / (total − warmup))) / 2
// Steps count from 0. A schedule has no state, so a resumed run needs nothing but its step.
#pragma once

#include <cstdint>

namespace systole {

struct Schedule {
  enum class Kind { constant, cosine };

  Kind kind = Kind::constant;
  double base;       // the rate after the warm-up
  double final = 0;  // cosine: the rate at step total_steps and beyond
  int64_t warmup_steps = 0;
  int64_t total_steps;  // warm-up included

  /// The rate of a step ≥ 0. The schedule must have passed check().
  double at(int64_t step) const;
};

/// Throws Error unless the rates are finite and not negative, total_steps ≥ 1 and 0 ≤ warmup_steps ≤ total_steps.
void check(const Schedule& schedule);

}  // namespace systole
