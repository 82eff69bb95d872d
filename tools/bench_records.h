// Records of random samples, for benchmarks of what reads them.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "augment/views.h"

namespace systole::tools {

/// A data set of `count` records [length, leads] in the device's memory, and a batch of all of them.
class RandomRecords {
 public:
  RandomRecords(int count, int length, int leads, double sampling_rate_hz, uint64_t seed, Device device);
  const augment::ViewSource& source() const { return source_; }

 private:
  template <class T>
  const T* upload(const std::vector<T>& values);

  Queue queue_;
  std::vector<std::shared_ptr<std::byte>> memory_;
  augment::ViewSource source_;
};

/// Names of leads: of 8 or 12 those of an ECG, of other numbers "lead 1", "lead 2" ...
std::vector<std::string> lead_names(int count);

}  // namespace systole::tools
