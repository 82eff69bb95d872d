// A batch of records in memory and the views that a device makes of it.
#pragma once

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "augment/views.h"
#include "kernels/common/parallel.h"
#include "tests/device.h"
#include "tests/support.h"

namespace systole::test {

/// The usual twelve leads; eight without the derived limb leads; sixteen with some of them twice; else plain numbers.
inline std::vector<std::string> lead_names(int count) {
  if (count == 8) return {"I", "II", "V1", "V2", "V3", "V4", "V5", "V6"};
  std::vector<std::string> names = {"I", "II", "III", "AVR", "AVL", "AVF", "V1", "V2", "V3", "V4", "V5", "V6"};
  if (count == 12) return names;
  if (count == 16) {
    for (const char* again : {"III", "AVR", "AVL", "AVF"}) names.emplace_back(again);
    return names;
  }
  names.clear();
  for (int c = 0; c < count; ++c) names.push_back(std::to_string(c));
  return names;
}

/// R records of C leads. Until it is changed, samples are in units of 1/4096 mV, the mean is 0 mV and the deviation 1
/// mV, so that a view's values are millivolts.
struct Batch {
  int R, L_in, C;
  double sampling_rate_hz;
  std::vector<int16_t> samples;                          // [R, L_in, C]
  std::vector<float> scale, offset_mv, mean_mv, std_mv;  // [R, C], [R, C], [C], [C]
  std::vector<uint32_t> records;                         // [N]
  uint64_t seed = 9;

  Batch(int R_, int L_in_, int C_, double sampling_rate_hz_)
      : R(R_), L_in(L_in_), C(C_), sampling_rate_hz(sampling_rate_hz_) {
    samples.resize(count(R * L_in * C));
    scale.assign(count(R * C), 1 / 4096.0f);
    offset_mv.assign(count(R * C), 0);
    mean_mv.assign(count(C), 0);
    std_mv.assign(count(C), 1);
    for (int r = 0; r < R; ++r) records.push_back(static_cast<uint32_t>(r));
  }

  /// Records whose sample l of lead c is signal(r, l, c) mV, rounded to 1/4096 mV.
  template <class Signal>
  Batch& set_mv(const Signal& signal) {
    for (int r = 0; r < R; ++r)
      for (int l = 0; l < L_in; ++l)
        for (int c = 0; c < C; ++c)
          samples[count((r * L_in + l) * C + c)] = static_cast<int16_t>(std::lround(4096 * signal(r, l, c)));
    return *this;
  }
  /// What the record holds, in millivolts.
  float mv(int r, int l, int c) const {
    return static_cast<float>(samples[count((r * L_in + l) * C + c)]) * scale[count(r * C + c)] +
           offset_mv[count(r * C + c)];
  }
  float normalized(int r, int l, int c) const { return (mv(r, l, c) - mean_mv[count(c)]) / std_mv[count(c)]; }

  int N() const { return static_cast<int>(records.size()); }
  augment::ViewShape shape(int V, int L, augment::Segment segment) const { return {N(), V, L_in, L, C, segment}; }

  /// [V·N, L, C], made by the device under test.
  std::vector<float> views(const augment::Recipe& recipe, int V, int L, augment::Segment segment, uint32_t step) const {
    std::vector<float> x = unwritten(V, L);
    OnDevice d;
    const augment::ViewSource source{d.in(samples), d.in(scale),   d.in(offset_mv),  d.in(mean_mv),
                                     d.in(std_mv),  d.in(records), sampling_rate_hz, vcg(recipe)};
    augment::augment_kernels(device()).views(d.queue(), shape(V, L, segment), source, recipe, seed, step, d.out(x));
    d.finish();
    return x;
  }
  /// Whole records.
  std::vector<float> views(const augment::Recipe& recipe, int V = 1, uint32_t step = 0) const {
    return views(recipe, V, L_in, augment::Segment::centre, step);
  }

  /// What the cpu makes, whatever device is tested.
  std::vector<float> views_of_cpu(const augment::Recipe& recipe, int V, int L, augment::Segment segment,
                                  uint32_t step) const {
    std::vector<float> x = unwritten(V, L);
    Queue queue;
    const augment::ViewSource source{samples.data(), scale.data(),   offset_mv.data(), mean_mv.data(),
                                     std_mv.data(),  records.data(), sampling_rate_hz, vcg(recipe)};
    set_threads(1);  // ThreadSanitizer, which watches the simt device, takes OpenMP's own barriers for races
    augment::cpu::augment.views(queue, shape(V, L, segment), source, recipe, seed, step, x.data());
    set_threads(0);
    return x;
  }

 private:
  static size_t count(int n) { return static_cast<size_t>(n); }
  std::vector<float> unwritten(int V, int L) const { return std::vector<float>(count(V * N() * L * C), NAN); }
  augment::VcgTransform vcg(const augment::Recipe& recipe) const {
    return recipe.vcg.p > 0 ? augment::vcg_transform(recipe, lead_names(C)) : augment::VcgTransform{};
  }
};

/// One view of [V·N, L, C].
inline std::vector<float> view_of(const std::vector<float>& views, size_t row, int L, int C) {
  const auto size = static_cast<std::ptrdiff_t>(L) * C;
  const auto begin = views.begin() + static_cast<std::ptrdiff_t>(row) * size;
  return {begin, begin + size};
}

/// One lead of a view [L, C].
inline std::vector<double> lead_of(const std::vector<float>& view, int c, int C) {
  std::vector<double> lead;
  for (size_t i = static_cast<size_t>(c); i < view.size(); i += static_cast<size_t>(C)) lead.push_back(view[i]);
  return lead;
}

/// The augmentation of this name.
inline const augment::Augmentation& augmentation(const std::string& name) {
  for (const augment::Augmentation& a : augment::augmentations())
    if (a.name == name) return a;
  FAIL("no augmentation " << name);
  return augment::augmentations().front();
}
inline augment::Recipe only(const std::string& name) {
  return augment::only(augmentation(name));
}

}  // namespace systole::test
