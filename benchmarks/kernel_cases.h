// Every entry of the kernel tables on every shape of its family's cases.h, as something that can be run, checked and
// timed without knowing what it is.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "kernels/common/device.h"
#include "kernels/common/series.h"

namespace systole::benchmarks {

/// Addresses of a problem's buffers on one device, by number.
using Memory = std::vector<float*>;

/// One way to compute a case: the table's entry, or a peer.
struct Variant {
  std::string name;
  std::function<void(Queue&, const Memory&)> run;
  kernels::Storage series = kernels::Storage::f32;  // how it wants the problem's series
  double bytes = 0;                                 // that it must move; 0: those of the case
};

/// The buffers of a case as they are before the first call, and who computes with them. Buffers are float arrays; the
/// functions that add one give its number.
class Problem {
 public:
  int normal(int64_t count, float scale = 1);  // random, mean 0
  int positive(int64_t count);                 // random in (0.5, 1.5)
  int given(std::vector<float> values);
  /// NaN, so that an element that a kernel leaves out is seen.
  int result(int64_t count);
  /// Also compared with the reference, but with a content.
  int updated(int buffer);
  /// One that is stored as a variant wants.
  int series(int buffer);

  void add(std::string name, std::function<void(Queue&, const Memory&)> run) {
    variants.push_back({std::move(name), std::move(run)});
  }

  std::vector<std::vector<float>> buffers;
  std::vector<int> results, stored;  // stored: those that are series
  std::vector<Variant> variants;     // the first is the table's entry, which the cpu has too; the others are peers
};

struct KernelCase {
  std::string kernel, shape;  // "conv1d.forward", "encoder/1 64-64 K7 N256"
  double flop, bytes;         // the least that must be computed and moved
  std::function<Problem(Device)> make;
};

/// In the order of the folders.
std::vector<KernelCase> kernel_cases();

}  // namespace systole::benchmarks
