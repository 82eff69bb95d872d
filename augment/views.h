// Views of records: raw int16 samples of a data set → millivolts → augmented → normalised, in one pass, in the layout
// that the first convolution reads. Row v·N + n of the result is view v of record n.
//
// Everything random is drawn in draws.h from Philox streams of (seed, step, record, view, augmentation): it does not
// depend on the batch, on threads or on the device. Only mixup and CutMix look at the batch, as a set: they take their
// partner from it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "augment/recipe.h"
#include "kernels/common/device.h"
#include "kernels/common/series.h"
#include "kernels/common/step_number.h"
#include "kernels/common/table.h"

namespace systole::augment {

/// A segment is L of the L_in samples of a record, at most L_in.
enum class Segment {
  centre,    ///< the same for every view: evaluation
  random,    ///< drawn per record and view
  disjoint,  ///< drawn; the V views of a record do not overlap. Needs V · L ≤ L_in
};

struct ViewShape {
  int N, V;     // records in the batch, views of each
  int L_in, L;  // samples of a record and of a view
  int C;        // leads
  Segment segment = Segment::centre;
};
std::string text(const ViewShape& shape);  // "N 128, V 2, L_in 1000, L 1000, C 12"

/// Leads to the heart's vector X, Y, Z and back, for the leads as they stand in the data set. A lead that is not among
/// I, II, V1 … V6 does not contribute; a limb lead is derived from I and II.
struct VcgTransform {
  static constexpr int kMaxLeads = 16;
  float inverse[3][kMaxLeads];  // leads → X, Y, Z
  float forward[kMaxLeads][3];  // X, Y, Z → leads
};
/// For the recipe's choices: inverse "dower" or "kors"; back "dower" or "pseudo_inverse" of the inverse, as 3KG. Throws
/// UsageError unless leads hold I, II, V1 … V6 and otherwise limb leads only.
VcgTransform vcg_transform(const Recipe& recipe, const std::vector<std::string>& leads);

/// The resident data set and its normalisation: millivolts = sample · scale + offset, result = (millivolts − mean) /
/// std. The pointers are to the device's memory.
struct ViewSource {
  const int16_t* samples;   // [R, L_in, C]
  const float* scale;       // [R, C], mV
  const float* offset;      // [R, C], mV
  const float* mean;        // [C], mV
  const float* std;         // [C], mV
  const uint32_t* records;  // [N]: which of the R records
  double sampling_rate_hz;
  VcgTransform vcg{};  // read only by recipes with vcg
};

/// A band-pass filter works on a whole circle of samples, 2^k or 3 · 2^k, with at least a second of room behind the
/// view.
inline constexpr int kMaxCircle = 8192;
/// Views of more samples than this do not fit into the shared memory of a block.
inline constexpr int kMaxLength = 10000;
int filter_circle(int L, double sampling_rate_hz);

/// Throws UsageError when a recipe cannot be applied to records of this length, rate and leads: a corner above half the
/// sampling rate, a segment longer than the record, leads that vcg does not know.
void check_applicable(const NamedRecipe& recipe, double sampling_rate_hz, const ViewShape& shape,
                      const std::vector<std::string>& leads);

struct AugmentKernels {
  /// views [V·N, L, C]. The recipe has been checked with check_applicable.
  kernels::Entry<"augment.views", void(const ViewShape&, const ViewSource&, const Recipe&, uint64_t seed,
                                       StepNumber step, kernels::Series views)>
      views;
};

const AugmentKernels& augment_kernels(Device device);

SYSTOLE_KERNEL_TABLES(AugmentKernels, augment)

}  // namespace systole::augment
