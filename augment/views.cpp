#include "augment/views.h"

#include <algorithm>
#include <fmt/format.h>

#include "kernels/common/error.h"

namespace systole::augment {

std::string text(const ViewShape& shape) {
  return fmt::format("N {}, V {}, L_in {}, L {}, C {}", shape.N, shape.V, shape.L_in, shape.L, shape.C);
}

int filter_circle(int L, double sampling_rate_hz) {
  const double least = L + sampling_rate_hz;
  int P = 4;
  while (P < least) P *= 2;
  const int smaller = P / 4 * 3;
  return P >= 8 && smaller >= least ? smaller : P;
}

const AugmentKernels& augment_kernels(Device device) {
  return SYSTOLE_TABLE_OF(device, augment);
}

void check_applicable(const NamedRecipe& named, double sampling_rate_hz, const ViewShape& shape,
                      const std::vector<std::string>& leads) {
  const Recipe& r = named.recipe;
  const auto refuse = [&](const std::string& reason) {
    throw UsageError(fmt::format("augmentation recipe '{}': {}", named.name, reason));
  };
  const auto below_half_the_rate = [&](const char* augmentation, const char* parameter, double hz) {
    if (hz >= sampling_rate_hz / 2)
      refuse(fmt::format(
          "{}.{} is {} Hz; expected less than half the sampling rate of {} Hz (--augment no-{} leaves it out)",
          augmentation, parameter, hz, sampling_rate_hz, augmentation));
  };
  const int length = shape.L, record_length = shape.L_in;
  if (length < 1) refuse("a view has at least one sample");
  if (length > record_length)
    refuse(fmt::format("views of {} samples ({} s) do not fit into records of {} samples ({} s)", length,
                       length / sampling_rate_hz, record_length, record_length / sampling_rate_hz));
  if (shape.segment == Segment::disjoint && int64_t{shape.V} * length > record_length)
    refuse(fmt::format("{} segments of {} samples that do not overlap do not fit into records of {}", shape.V, length,
                       record_length));
  if (length > kMaxLength) refuse(fmt::format("views have at most {} samples, not {}", kMaxLength, length));
  if (r.band_pass.p > 0) {
    below_half_the_rate("band_pass", "low_hz", r.band_pass.low_hz.high);
    below_half_the_rate("band_pass", "high_hz", r.band_pass.high_hz.low);
    if (r.band_pass.low_hz.high >= r.band_pass.high_hz.low)
      refuse(fmt::format("band_pass.low_hz goes up to {} Hz; expected less than high_hz, which begins at {} Hz",
                         r.band_pass.low_hz.high, r.band_pass.high_hz.low));
    if (filter_circle(length, sampling_rate_hz) > kMaxCircle)
      refuse(fmt::format("band_pass filters views of at most {} samples at {} Hz, not {}",
                         kMaxCircle - static_cast<int>(sampling_rate_hz), sampling_rate_hz, length));
  }
  if (r.motion_artifact.p > 0)
    below_half_the_rate("motion_artifact", "frequency_hz", r.motion_artifact.frequency_hz.high);
  if (r.mains.p > 0) below_half_the_rate("mains", "frequency_hz", r.mains.frequency_hz);
  if (r.vcg.p > 0) {
    try {
      vcg_transform(r, leads);
    } catch (const UsageError& error) {
      refuse(fmt::format("{} (--augment no-vcg leaves it out)", error.what()));
    }
  }
}

}  // namespace systole::augment
