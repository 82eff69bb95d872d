// The number of a training step as kernels take it. Arguments of a captured step stay what they were when it was
// captured; a number that must change from replay to replay stands in the device's memory instead.
#pragma once

#include <cstdint>

#include "kernels/common/elementary.h"

namespace systole {

class StepNumber {
 public:
  SYSTOLE_HOST_DEVICE StepNumber(uint32_t number = 0) : number_(number) {}  // NOLINT: a number is meant
  /// The number that stands at `place`, in the memory of the device that runs the kernel, when it is read.
  static StepNumber at(const uint32_t* place) {
    StepNumber step;
    step.place_ = place;
    return step;
  }
  SYSTOLE_HOST_DEVICE operator uint32_t() const { return place_ ? *place_ : number_; }  // NOLINT: in kernels

 private:
  uint32_t number_;
  const uint32_t* place_ = nullptr;
};

}  // namespace systole
