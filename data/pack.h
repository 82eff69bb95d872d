// The packed store: a whole data set in one file, its records as int16 samples one after the other, with all that is
// known about them. Reading it takes one open and no parsing per record. docs/data.md describes it byte by byte.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "data/dataset.h"
#include "data/record_loader.h"

namespace systole::data {

/// One way to label the records of a pack.
struct PackedLabels {
  std::string name;  // superclass, low-lvef, table, aami …
  std::vector<std::string> classes;
  std::vector<uint8_t> is_known;  // [R], 0 or 1
  std::vector<uint8_t> labels;    // [R, classes], 0 or 1; 0 where they are not known
};

struct PackContents {
  Dataset signals;                       // all records, without labels
  bool has_ecg_ids = false;              // label tables name records by record_id, as in PTB-XL, and not by record_name
  std::vector<PackedLabels> label_sets;  // the first is what a command takes that asks for none
};

/// Writes the file, complete or not at all. `progress` is called after each record. Throws Error where it cannot be
/// written.
void write_pack(const std::filesystem::path& path, const PackContents& contents,
                const std::function<void(size_t done, size_t total)>& progress = {});

/// Whether a root is a file, which must then be a pack, and not a folder.
bool is_pack(const std::filesystem::path& root);

/// A pack that is open and mapped into memory; its samples are read when they are asked for. The file must not be cut
/// short meanwhile: to replace it, another is renamed over it, as write_pack does.
class PackFile {
 public:
  /// Reads and checks everything but the samples: a file may hold anything, and no count or offset is used before it
  /// was checked. Throws Error that names the file and what is wrong with it.
  explicit PackFile(const std::filesystem::path& path);
  /// The same of a file that is in memory already and stays there; `name` stands for it in messages.
  PackFile(const std::filesystem::path& name, std::span<const uint8_t> bytes);
  ~PackFile();
  PackFile(const PackFile&) = delete;
  PackFile& operator=(const PackFile&) = delete;

  const std::filesystem::path& path() const { return path_; }
  /// All but the samples, of which there are none.
  const PackContents& contents() const { return contents_; }

  /// Copies the samples of a record, [L, leads]. Throws Error that names record and bytes when the checksum is another.
  void read_samples(size_t record, int16_t* samples) const;

 private:
  void read_head();
  void unmap();

  std::filesystem::path path_;
  std::span<const uint8_t> bytes_;  // the file
  bool is_mapped_ = false;
  size_t samples_begin_ = 0;
  PackContents contents_;
  std::vector<uint32_t> checksum_;  // [R]
};

/// Which record of a pack a source is, where the pack has it.
inline constexpr size_t kNotInPack = static_cast<size_t>(-1);

/// Loads the records of the folds as load_records does, for each source the record of the pack at its place, [sources].
/// Throws UsageError for another sampling rate than the pack's, and Error for a damaged record unless those are
/// skipped.
Dataset load_packed_records(const PackFile& pack, const std::vector<RecordSource>& sources,
                            const std::vector<size_t>& places, const RecordRules& rules, const LoadOptions& options,
                            LoadReport& report);

/// Loads the records of the folds from the pack `options.root` with one of its label sets: "none" for signals only, ""
/// for the pack's first. Throws as load_packed_records, and UsageError for a label set that the pack does not have.
Dataset load_pack(const LoadOptions& options, const std::string& label_set, LoadReport& report);

}  // namespace systole::data
