#pragma once

#include "kernels/common/device.h"

namespace systole::test {

/// The precision of all queues while it lives.
class PrecisionScope {
 public:
  explicit PrecisionScope(Precision precision) { set_precision(precision); }
  ~PrecisionScope() { set_precision(Precision::f32); }
  PrecisionScope(const PrecisionScope&) = delete;
  PrecisionScope& operator=(const PrecisionScope&) = delete;
};

}  // namespace systole::test
