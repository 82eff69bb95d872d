#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <fcntl.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "data/pack.h"
#include "data/pack_format.h"
#include "kernels/common/error.h"
#include "kernels/common/strict_json.h"

namespace systole::data {
namespace {

namespace fs = std::filesystem;

constexpr int kLevels = 4;  // of the metadata: themselves, label_sets, one of them, its classes

std::span<const uint8_t> map_file(const fs::path& path) {
  const int descriptor = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) throw Error(fmt::format("The file {} cannot be opened: {}.", path.string(), strerror(errno)));
  struct stat status = {};
  fstat(descriptor, &status);
  const auto size = static_cast<size_t>(status.st_size);
  void* bytes = nullptr;
  if (S_ISREG(status.st_mode) && size > 0) bytes = mmap(nullptr, size, PROT_READ, MAP_PRIVATE, descriptor, 0);
  const int reason = errno;
  close(descriptor);
  if (bytes == MAP_FAILED)
    throw Error(fmt::format("The file {} cannot be mapped into memory: {}.", path.string(), strerror(reason)));
  return {static_cast<const uint8_t*>(bytes), bytes ? size : 0};
}

/// What stands before the samples, each part checked before the next one is looked at.
class HeadReader {
 public:
  HeadReader(const fs::path& path, const uint8_t* bytes, size_t size) : path_(path), bytes_(bytes), size_(size) {
    read_header();
    check_counts();
    check_tables_checksum();
  }

  const pack::Header& header() const { return header_; }

  void read(PackContents& contents, std::vector<uint32_t>& checksums) const {
    read_metadata(contents);
    std::vector<size_t> classes;
    for (const PackedLabels& set : contents.label_sets) classes.push_back(set.classes.size());
    const pack::Tables tables(header_.metadata_bytes, header_.records, header_.leads, classes);
    if (tables.samples_begin() != header_.samples_begin)
      fail(fmt::format("its samples begin at byte {}, {} was expected from its tables", header_.samples_begin,
                       tables.samples_begin()));
    read_tables(tables, contents, checksums);
  }

 private:
  [[noreturn]] void fail(const std::string& what) const { throw Error(fmt::format("{}: {}.", path_.string(), what)); }

  void read_header() {
    if (size_ < sizeof header_ || std::memcmp(bytes_, pack::kMagic, sizeof pack::kMagic) != 0)
      fail("it is no packed data set, which systole pack writes, and no folder of a data set either");
    std::memcpy(&header_, bytes_, sizeof header_);
    if (header_.version != pack::kVersion)
      fail(fmt::format("it is a packed data set of version {}, version {} was expected", header_.version,
                       pack::kVersion));
    check_checksum("header", 0, offsetof(pack::Header, header_checksum), header_.header_checksum);
    if (header_.file_bytes != size_)
      fail(fmt::format("it has {} bytes, {} were expected from its header: it was not copied whole", size_,
                       header_.file_bytes));
  }

  void check_between(const char* what, uint64_t value, uint64_t least, uint64_t most) const {
    if (value < least || value > most)
      fail(fmt::format("its header gives {} {}, {} to {} were expected", value, what, least, most));
  }

  void check_counts() const {
    check_between("leads", header_.leads, 1, pack::kMostLeads);
    check_between("samples per lead", header_.length, 1, pack::kMostSamples);
    check_between("records", header_.records, 1, pack::kMostRecords);
    check_between("bytes before the samples", header_.samples_begin, sizeof header_, size_);
    check_between("bytes of metadata", header_.metadata_bytes, 1, header_.samples_begin - sizeof header_);
    const uint64_t expected = header_.records * header_.length * header_.leads * sizeof(int16_t);
    if (size_ - header_.samples_begin != expected)
      fail(fmt::format("it has {} bytes of samples, {} were expected for {} records of {} leads x {}",
                       size_ - header_.samples_begin, expected, header_.records, header_.leads, header_.length));
  }

  void check_checksum(const char* what, size_t begin, size_t end, uint32_t expected) const {
    const uint32_t found = pack::checksum(bytes_ + begin, end - begin);
    if (found != expected)
      fail(fmt::format("its {} is damaged: the checksum of the bytes {} to {} is {:08x}, {:08x} was expected", what,
                       begin, end - 1, found, expected));
  }

  void check_tables_checksum() const {
    check_checksum("description of the records", sizeof header_, header_.samples_begin, header_.tables_checksum);
  }

  /// The names and lists of the JSON text.
  void read_metadata(PackContents& contents) const {
    try {
      const auto begin = reinterpret_cast<const char*>(bytes_) + sizeof header_;
      const auto metadata = parse_strict_json<nlohmann::json>({begin, header_.metadata_bytes}, kLevels);
      Dataset& signals = contents.signals;
      metadata.at("name").get_to(signals.name);
      metadata.at("sampling_rate_hz").get_to(signals.sampling_rate_hz);
      metadata.at("unit").get_to(signals.unit);
      metadata.at("leads").get_to(signals.leads);
      metadata.at("has_ecg_ids").get_to(contents.has_ecg_ids);
      metadata.at("records").get_to(signals.record_name);
      for (const auto& set : metadata.at("label_sets"))
        contents.label_sets.push_back(
            {set.at("name").get<std::string>(), set.at("classes").get<std::vector<std::string>>(), {}, {}});
    } catch (const nlohmann::json::exception& error) {
      fail(fmt::format("its metadata are not as expected ({})", error.what()));
    } catch (const Error& error) {
      fail(fmt::format("its metadata are not as expected: {}", error.what()));
    }
    contents.signals.label_set = "none";
    contents.signals.length = static_cast<int>(header_.length);
    check_metadata(contents);
  }

  void check_metadata(const PackContents& contents) const {
    const Dataset& signals = contents.signals;
    if (signals.leads.size() != header_.leads || signals.record_name.size() != header_.records)
      fail(fmt::format("its metadata name {} leads and {} records, {} and {} were expected from its header",
                       signals.leads.size(), signals.record_name.size(), header_.leads, header_.records));
    if (!(signals.sampling_rate_hz > 0) || !std::isfinite(signals.sampling_rate_hz))
      fail(fmt::format("its sampling rate is {} Hz, a number above 0 was expected", signals.sampling_rate_hz));
    check_between("label sets", contents.label_sets.size(), 0, pack::kMostLabelSets);
    for (const PackedLabels& set : contents.label_sets)
      check_between("classes of a label set", set.classes.size(), 1, pack::kMostClasses);
  }

  template <class T>
  std::vector<T> table(size_t begin, size_t count) const {
    std::vector<T> values(count);
    std::memcpy(values.data(), bytes_ + begin, count * sizeof(T));
    return values;
  }

  void read_tables(const pack::Tables& tables, PackContents& contents, std::vector<uint32_t>& checksums) const {
    const size_t R = header_.records, C = header_.leads;
    Dataset& signals = contents.signals;
    signals.record_id = table<int64_t>(tables.record_id, R);
    signals.patient_id = table<int64_t>(tables.patient_id, R);
    signals.scale = table<float>(tables.scale, R * C);
    signals.offset = table<float>(tables.offset, R * C);
    checksums = table<uint32_t>(tables.checksum, R);
    const auto folds = table<uint8_t>(tables.fold, R);
    signals.fold.assign(folds.begin(), folds.end());
    check_all("fold", folds, 1, [](uint8_t fold) { return fold >= 1 && fold <= 10; });
    check_all("scale", signals.scale, C, [](float scale) { return std::isfinite(scale); });
    check_all("offset", signals.offset, C, [](float offset) { return std::isfinite(offset); });
    const auto is_bit = [](uint8_t label) { return label <= 1; };
    for (size_t s = 0; s < contents.label_sets.size(); ++s) {
      PackedLabels& set = contents.label_sets[s];
      set.is_known = table<uint8_t>(tables.label_sets[s], R);
      set.labels = table<uint8_t>(tables.label_sets[s] + R, R * set.classes.size());
      check_all("label", set.is_known, 1, is_bit);
      check_all("label", set.labels, set.classes.size(), is_bit);
    }
  }

  template <class T, class Test>
  void check_all(const char* what, const std::vector<T>& values, size_t per_record, const Test& is_valid) const {
    const auto bad = std::find_if_not(values.begin(), values.end(), is_valid);
    if (bad != values.end())
      fail(fmt::format("record {} has the {} {}, which cannot be",
                       static_cast<size_t>(bad - values.begin()) / per_record, what, +*bad));
  }

  const fs::path& path_;
  const uint8_t* bytes_;
  size_t size_;
  pack::Header header_{};
};

}  // namespace

bool is_pack(const fs::path& root) {
  return fs::is_regular_file(root);
}

PackFile::PackFile(const fs::path& path) : path_(path), bytes_(map_file(path)), is_mapped_(!bytes_.empty()) {
  try {
    read_head();
  } catch (...) {
    unmap();
    throw;
  }
  posix_madvise(const_cast<uint8_t*>(bytes_.data()), bytes_.size(), POSIX_MADV_WILLNEED);
}

PackFile::PackFile(const fs::path& name, std::span<const uint8_t> bytes) : path_(name), bytes_(bytes) {
  read_head();
}

PackFile::~PackFile() {
  unmap();
}

void PackFile::unmap() {
  if (is_mapped_) munmap(const_cast<uint8_t*>(bytes_.data()), bytes_.size());
}

void PackFile::read_head() {
  const HeadReader head(path_, bytes_.data(), bytes_.size());
  head.read(contents_, checksum_);
  samples_begin_ = head.header().samples_begin;
}

void PackFile::read_samples(size_t record, int16_t* samples) const {
  const Dataset& signals = contents_.signals;
  const size_t size = static_cast<size_t>(signals.length) * signals.lead_count() * sizeof(int16_t);
  const size_t begin = samples_begin_ + record * size;
  std::memcpy(samples, bytes_.data() + begin, size);
  const uint32_t found = pack::checksum(samples, size);
  if (found != checksum_[record])
    throw Error(fmt::format(
        "{}: record {} ({}, bytes {} to {}) is damaged: its checksum is {:08x}, {:08x} was expected.", path_.string(),
        record, signals.record_name[record], begin, begin + size - 1, found, checksum_[record]));
}

}  // namespace systole::data
