#include <cstring>
#include <nlohmann/json.hpp>
#include <zlib.h>

#include "data/pack.h"
#include "data/pack_format.h"
#include "engine/checkpoint/atomic_file.h"

namespace systole::data {
namespace {

using nlohmann::ordered_json;

std::string metadata_of(const PackContents& contents) {
  const Dataset& signals = contents.signals;
  ordered_json label_sets = ordered_json::array();
  for (const PackedLabels& set : contents.label_sets)
    label_sets.push_back({{"name", set.name}, {"classes", set.classes}});
  const ordered_json metadata{
      {"name", signals.name},          {"sampling_rate_hz", signals.sampling_rate_hz}, {"unit", signals.unit},
      {"leads", signals.leads},        {"has_ecg_ids", contents.has_ecg_ids},          {"label_sets", label_sets},
      {"records", signals.record_name}};
  return metadata.dump(-1, ' ', false, ordered_json::error_handler_t::replace);  // file names may be no UTF-8
}

size_t bytes_of_record(const Dataset& signals) {
  return static_cast<size_t>(signals.length) * signals.lead_count() * sizeof(int16_t);
}

/// All bytes before the samples.
std::vector<uint8_t> head_of(const PackContents& contents) {
  const Dataset& signals = contents.signals;
  const std::string metadata = metadata_of(contents);
  std::vector<size_t> classes;
  for (const PackedLabels& set : contents.label_sets) classes.push_back(set.classes.size());
  const pack::Tables tables(metadata.size(), signals.records(), signals.lead_count(), classes);
  std::vector<uint8_t> head(tables.samples_begin());
  const auto put = [&](size_t at, const auto& values) {
    if (!values.empty()) std::memcpy(head.data() + at, values.data(), values.size() * sizeof(values[0]));
  };

  put(sizeof(pack::Header), metadata);
  put(tables.record_id, signals.record_id);
  put(tables.patient_id, signals.patient_id);
  put(tables.scale, signals.scale);
  put(tables.offset, signals.offset);
  std::vector<uint32_t> checksums;
  for (size_t r = 0; r < signals.records(); ++r)
    checksums.push_back(pack::checksum(signals.record(r), bytes_of_record(signals)));
  put(tables.checksum, checksums);
  put(tables.fold, std::vector<uint8_t>(signals.fold.begin(), signals.fold.end()));
  for (size_t s = 0; s < classes.size(); ++s) {
    put(tables.label_sets[s], contents.label_sets[s].is_known);
    put(tables.label_sets[s] + signals.records(), contents.label_sets[s].labels);
  }

  pack::Header header{.magic = {},
                      .version = pack::kVersion,
                      .leads = static_cast<uint32_t>(signals.lead_count()),
                      .records = signals.records(),
                      .length = static_cast<uint64_t>(signals.length),
                      .metadata_bytes = metadata.size(),
                      .samples_begin = head.size(),
                      .file_bytes = head.size() + signals.records() * bytes_of_record(signals),
                      .tables_checksum = pack::checksum(head.data() + sizeof header, head.size() - sizeof header),
                      .header_checksum = 0};
  std::copy(std::begin(pack::kMagic), std::end(pack::kMagic), header.magic);
  header.header_checksum = pack::checksum(&header, offsetof(pack::Header, header_checksum));
  std::memcpy(head.data(), &header, sizeof header);
  return head;
}

}  // namespace

uint32_t pack::checksum(const void* bytes, size_t count) {
  return static_cast<uint32_t>(crc32_z(0, static_cast<const Bytef*>(bytes), count));
}

void write_pack(const std::filesystem::path& path, const PackContents& contents,
                const std::function<void(size_t done, size_t total)>& progress) {
  const std::vector<uint8_t> head = head_of(contents);
  const Dataset& signals = contents.signals;
  write_file_atomically(path, [&](std::ostream& stream) {
    stream.write(reinterpret_cast<const char*>(head.data()), static_cast<std::streamsize>(head.size()));
    for (size_t r = 0; r < signals.records(); ++r) {
      stream.write(reinterpret_cast<const char*>(signals.record(r)),
                   static_cast<std::streamsize>(bytes_of_record(signals)));
      if (progress) progress(r + 1, signals.records());
    }
  });
}

}  // namespace systole::data
