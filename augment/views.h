// Views of records: raw int16 samples of a data set → physical values → normalised → augmented, in one pass, in the
// layout that the first convolution reads. Row v·N + n of the result is view v of record n.
//
// The simple recipe works on normalised signals, so every strength is in standard deviations of the lead. Everything is
// drawn per record and per view from Philox streams of (seed, step, record, view): independent of the batch, of threads
// and of the device.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "kernels/common/device.h"
#include "kernels/common/table.h"

namespace systole::augment {

/// A segment is L of the L_in samples of a record, at most L_in.
enum class Segment {
  centre,  ///< the same for every view: evaluation
  random,  ///< drawn per record and view
};

struct ViewShape {
  int N, V;     // records in the batch, views of each
  int L_in, L;  // samples of a record and of a view
  int C;        // leads
  Segment segment = Segment::centre;
};
std::string text(const ViewShape& shape);  // "N 128, V 2, L_in 1000, L 1000, C 12"

/// The resident data set and its normalisation: value = (sample · scale + offset − mean) / std. The pointers are to the
/// device's memory.
struct ViewSource {
  const int16_t* samples;   // [R, L_in, C]
  const float* scale;       // [R, C]
  const float* offset;      // [R, C]
  const float* mean;        // [C]
  const float* std;         // [C]
  const uint32_t* records;  // [N]: which of the R records
  double sampling_rate_hz;
};

/// Each augmentation happens with its probability p.
struct SimpleRecipe {
  float gain_p = 0, gain_low = 1, gain_high = 1;              // U(low, high) per lead
  float noise_p = 0, noise_std_low = 0, noise_std_high = 0;   // white, N(0, s), s ~ U(low, high) per lead
  float wander_p = 0, wander_low = 0, wander_high = 0;        // a sine of U(0.1, 0.6) Hz; amplitude and phase per lead
  float mask_p = 0, mask_share_low = 0, mask_share_high = 0;  // one stretch of time set to zero in all leads
};

struct AugmentKernels {
  /// views [V·N, L, C].
  kernels::Entry<"augment.views", void(const ViewShape&, const ViewSource&, const SimpleRecipe&, uint64_t seed,
                                       uint32_t step, float* views)>
      views;
};

const AugmentKernels& augment_kernels(Device device);

SYSTOLE_KERNEL_TABLES(AugmentKernels, augment)

struct NamedRecipe {
  const char* name;
  const char* description;
  SimpleRecipe recipe;
};
const std::vector<NamedRecipe>& recipes();
/// The recipe of this name. Throws UsageError with the names that exist.
const SimpleRecipe& find_recipe(const std::string& name);

}  // namespace systole::augment
