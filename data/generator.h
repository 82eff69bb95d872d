// Writes a synthetic data set in PTB-XL's own layout: ptbxl_database.csv (with two columns more: lvef, potassium),
// scp_statements.csv, records100/ and, if asked for, records500/. The model is in docs/generator.md.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>

namespace systole::data {

struct GeneratorOptions {
  std::filesystem::path out;
  int patients = 1000;  // 1.54 recordings each in the mean
  uint64_t seed = 42;
  bool with_500_hz = false;
  std::function<void(int64_t done, int64_t records)>
      progress{};  // called now and then by the calling thread; may be empty
};

/// Writes the data set to `out`, complete or not at all: it grows in a folder beside it that is renamed at the end. The
/// same seed gives the same bytes for any number of threads. Throws UsageError for fewer than 1 or more than a million
/// patients, Error when `out` is a file or a folder with something in it, or cannot be written.
void generate_dataset(const GeneratorOptions& options);

}  // namespace systole::data
