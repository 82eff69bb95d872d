// The ten sample formats of WFDB, signal(5). A sample's place in the file follows from its number alone, so each format
// is a function of the bytes and the number; format 8 holds differences, which are summed afterwards.

#include "data/wfdb_files.h"

#include <algorithm>
#include <fmt/format.h>
#include <iterator>

#include "kernels/common/error.h"

namespace systole::data::wfdb {
namespace {

/// The two's complement number in the low `bits` of `word`.
template <int bits>
int32_t sign_extend(uint32_t word) {
  return static_cast<int32_t>(word << (32 - bits)) >> (32 - bits);
}

uint32_t little_endian_16(const uint8_t* p) {
  return p[0] | uint32_t{p[1]} << 8;
}
uint32_t little_endian_32(const uint8_t* p) {
  return little_endian_16(p) | little_endian_16(p + 2) << 16;
}

struct Format8 {  // the difference to the sample before; there is no code for "no value"
  static constexpr int32_t kNoValue = kInvalidSample;
  static int32_t at(const uint8_t* bytes, int64_t i) { return static_cast<int8_t>(bytes[i]); }
};

struct Format16 {
  static constexpr int32_t kNoValue = -0x8000;
  static int32_t at(const uint8_t* bytes, int64_t i) { return sign_extend<16>(little_endian_16(bytes + 2 * i)); }
};

struct Format24 {
  static constexpr int32_t kNoValue = -0x800000;
  static int32_t at(const uint8_t* bytes, int64_t i) {
    return sign_extend<24>(little_endian_16(bytes + 3 * i) | uint32_t{bytes[3 * i + 2]} << 16);
  }
};

struct Format32 {
  static constexpr int32_t kNoValue = kInvalidSample;
  static int32_t at(const uint8_t* bytes, int64_t i) { return sign_extend<32>(little_endian_32(bytes + 4 * i)); }
};

struct Format61 {  // the high byte first
  static constexpr int32_t kNoValue = -0x8000;
  static int32_t at(const uint8_t* bytes, int64_t i) {
    return sign_extend<16>(uint32_t{bytes[2 * i]} << 8 | bytes[2 * i + 1]);
  }
};

struct Format80 {  // offset binary
  static constexpr int32_t kNoValue = -0x80;
  static int32_t at(const uint8_t* bytes, int64_t i) { return bytes[i] - 0x80; }
};

struct Format160 {  // offset binary
  static constexpr int32_t kNoValue = -0x8000;
  static int32_t at(const uint8_t* bytes, int64_t i) {
    return static_cast<int32_t>(little_endian_16(bytes + 2 * i)) - 0x8000;
  }
};

struct Format212 {  // two samples of 12 bits in three bytes; the middle byte holds both high halves
  static constexpr int32_t kNoValue = -0x800;
  static int32_t at(const uint8_t* bytes, int64_t i) {
    const uint8_t* p = bytes + i / 2 * 3;
    return sign_extend<12>(i % 2 ? p[2] | (p[1] & 0xF0u) << 4 : p[0] | (p[1] & 0x0Fu) << 8);
  }
};

struct Format310 {  // three samples of 10 bits in two words; the third is what the words have left above bit 10
  static constexpr int32_t kNoValue = -0x200;
  static int32_t at(const uint8_t* bytes, int64_t i) {
    const uint8_t* p = bytes + i / 3 * 4;
    const uint32_t first = little_endian_16(p), second = little_endian_16(p + 2);
    if (i % 3 == 0) return sign_extend<10>(first >> 1);
    if (i % 3 == 1) return sign_extend<10>(second >> 1);
    return sign_extend<10>(first >> 11 | (second >> 11) << 5);
  }
};

struct Format311 {  // three samples of 10 bits in 32, the first one lowest
  static constexpr int32_t kNoValue = -0x200;
  static int32_t at(const uint8_t* bytes, int64_t i) {
    return sign_extend<10>(little_endian_32(bytes + i / 3 * 4) >> (10 * (i % 3)));
  }
};

template <class Format>
uint16_t decode(const uint8_t* bytes, const Interleaving& s, int32_t* samples) {
  uint32_t sum = 0;
  const auto decode_one = [&](int64_t i) {
    const int32_t value = Format::at(bytes, i);
    sum += static_cast<uint32_t>(value);
    *samples++ = value == Format::kNoValue ? kInvalidSample : value;
  };
  const int64_t end = s.column + s.frames * s.frame_size;
  if (s.samples_per_frame == 1) {  // nearly always; the loop over k would cost more than the sample
    for (int64_t i = s.column; i < end; i += s.frame_size) decode_one(i);
  } else {
    for (int64_t i = s.column; i < end; i += s.frame_size)
      for (int64_t k = 0; k < s.samples_per_frame; ++k) decode_one(i + k);
  }
  return static_cast<uint16_t>(sum);
}

uint16_t decode_differences(const uint8_t* bytes, const Interleaving& s, int32_t initial_value, int32_t* samples) {
  decode<Format8>(bytes, s, samples);
  uint32_t value = static_cast<uint32_t>(initial_value), sum = 0;
  for (int64_t i = 0; i < s.frames * s.samples_per_frame; ++i) {
    value += static_cast<uint32_t>(samples[i]);
    sum += value;
    samples[i] = static_cast<int32_t>(value);
  }
  return static_cast<uint16_t>(sum);
}

}  // namespace

std::filesystem::path root_or_folder(const std::filesystem::path& root, const std::filesystem::path& file) {
  if (!root.empty()) return root;
  std::error_code ignored;  // a folder that is missing: the file in it cannot be opened
  return std::filesystem::canonical(file.has_parent_path() ? file.parent_path() : ".", ignored);
}

bool is_known_format(int format) {
  static constexpr int kFormats[] = {0, 8, 16, 24, 32, 61, 80, 160, 212, 310, 311};
  return std::binary_search(std::begin(kFormats), std::end(kFormats), format);
}

int64_t bytes_of(int format, int64_t count) {
  const int64_t rest = count % 3;
  switch (format) {
    case 8:
    case 80:
      return count;
    case 24:
      return 3 * count;
    case 32:
      return 4 * count;
    case 212:
      return (3 * count + 1) / 2;
    case 310:
      return count / 3 * 4 + 2 * rest;
    case 311:
      return count / 3 * 4 + (rest ? rest + 1 : 0);
    default:
      return 2 * count;
  }
}

int64_t samples_in(int format, int64_t bytes) {
  const int64_t rest = bytes % 4;
  switch (format) {
    case 8:
    case 80:
      return bytes;
    case 24:
      return bytes / 3;
    case 32:
      return bytes / 4;
    case 212:
      return bytes * 2 / 3;
    case 310:
      return bytes / 4 * 3 + rest / 2;
    case 311:
      return bytes / 4 * 3 + std::max<int64_t>(rest - 1, 0);
    default:
      return bytes / 2;
  }
}

uint16_t decode_signal(int format, const uint8_t* bytes, const Interleaving& s, int32_t initial_value,
                       int32_t* samples) {
  switch (format) {
    case 8:
      return decode_differences(bytes, s, initial_value, samples);
    case 16:
      return decode<Format16>(bytes, s, samples);
    case 24:
      return decode<Format24>(bytes, s, samples);
    case 32:
      return decode<Format32>(bytes, s, samples);
    case 61:
      return decode<Format61>(bytes, s, samples);
    case 80:
      return decode<Format80>(bytes, s, samples);
    case 160:
      return decode<Format160>(bytes, s, samples);
    case 212:
      return decode<Format212>(bytes, s, samples);
    case 310:
      return decode<Format310>(bytes, s, samples);
    case 311:
      return decode<Format311>(bytes, s, samples);
    default:
      throw Error(fmt::format("The WFDB format {} has no samples to decode.", format));
  }
}

}  // namespace systole::data::wfdb
