// The layout of a pack, for its writer and its reader; docs/data.md has the table. Numbers are little endian.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace systole::data::pack {

static_assert(std::endian::native == std::endian::little, "packs are written and read without swapping bytes");

/// As PNG's: the first byte is no text, and a transfer that changes line ends would be noticed.
inline constexpr uint8_t kMagic[8] = {0x89, 'E', 'C', 'G', 'S', '\r', '\n', 0x1A};
inline constexpr uint32_t kVersion = 1;

struct Header {
  uint8_t magic[8];
  uint32_t version;
  uint32_t leads;
  uint64_t records;
  uint64_t length;          // samples per lead of a record
  uint64_t metadata_bytes;  // of the JSON text that follows the header
  uint64_t samples_begin;   // byte of the first sample
  uint64_t file_bytes;
  uint32_t tables_checksum;  // of the bytes from the end of the header to the first sample
  uint32_t header_checksum;  // of the bytes before it
};
static_assert(sizeof(Header) == 64);

/// More than any data set has, and so few that no product of them overflows: the bytes of all samples are 2^63 at most.
inline constexpr uint64_t kMostRecords = 1 << 30, kMostLeads = 1 << 8, kMostSamples = 1 << 24, kMostClasses = 1 << 16,
                          kMostLabelSets = 1 << 8;

inline constexpr size_t kTableAlignment = 8, kSampleAlignment = 4096;

constexpr size_t aligned(size_t bytes, size_t alignment) {
  return (bytes + alignment - 1) / alignment * alignment;
}

/// Where the tables stand: each is an array over the records, one right after the other.
struct Tables {
  size_t record_id, patient_id;    // int64 [R]
  size_t scale, offset;            // float32 [R, leads]
  size_t checksum;                 // uint32 [R]
  size_t fold;                     // uint8 [R]
  std::vector<size_t> label_sets;  // of each: is_known, uint8 [R], and labels, uint8 [R, classes]
  size_t end;

  Tables(size_t metadata_bytes, size_t records, size_t leads, const std::vector<size_t>& classes_of_sets) {
    size_t at = aligned(sizeof(Header) + metadata_bytes, kTableAlignment);
    const auto take = [&](size_t bytes_of_record) {
      const size_t begin = at;
      at += records * bytes_of_record;
      return begin;
    };
    record_id = take(sizeof(int64_t));
    patient_id = take(sizeof(int64_t));
    scale = take(sizeof(float) * leads);
    offset = take(sizeof(float) * leads);
    checksum = take(sizeof(uint32_t));
    fold = take(1);
    for (const size_t classes : classes_of_sets) label_sets.push_back(take(1 + classes));
    end = at;
  }

  size_t samples_begin() const { return aligned(end, kSampleAlignment); }
};

/// CRC-32 as in zip and PNG, of zlib.
uint32_t checksum(const void* bytes, size_t count);

}  // namespace systole::data::pack
