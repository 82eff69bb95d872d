// What the parts of the WFDB reader share: reading a piece of a file with one call, and the sample formats of
// signal(5).
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>

#include "data/wfdb.h"

namespace systole::data::wfdb {

/// No record may hold more samples, over all of its signals: larger numbers stand in damaged headers.
inline constexpr int64_t kMaximumSamples = int64_t{1} << 31;

/// A file open for reading. Throws Error when it is missing or no regular file.
class InputFile {
 public:
  explicit InputFile(const std::filesystem::path& path);
  ~InputFile();
  InputFile(const InputFile&) = delete;
  InputFile& operator=(const InputFile&) = delete;

  int64_t size() const { return size_; }
  void read(int64_t offset, int64_t count, uint8_t* bytes) const;

 private:
  std::filesystem::path path_;
  int descriptor_;
  int64_t size_;
};

/// The whole file as text.
std::string read_text(const std::filesystem::path& path);

bool is_known_format(int format);

/// Bytes that `count` samples take, and how many whole samples `bytes` hold; the format is known and not 0.
int64_t bytes_of(int format, int64_t count);
int64_t samples_in(int format, int64_t bytes);

/// Bytes after the last sample that the decoder may read, with any content.
inline constexpr int64_t kPadding = 4;

/// Where one signal's samples stand in a file whose signals alternate frame by frame.
struct Interleaving {
  int64_t frames;
  int64_t frame_size;  // samples of all signals of the file in one frame
  int64_t column;      // the signal's first sample in a frame
  int64_t samples_per_frame;
};

/// Decodes one signal to adu, with kInvalidSample for the format's code of "no value". Returns the sum of the samples
/// modulo 2^16 as the file states them, with the code counted as the number it is (getskewedframe of the WFDB library).
uint16_t decode_signal(int format,
                       const uint8_t* bytes,   // bytes_of(format, frames · frame_size) + kPadding
                       const Interleaving& s,  //
                       int32_t initial_value,  // what format 8, first differences, starts from
                       int32_t* samples);      // [frames · samples_per_frame]

}  // namespace systole::data::wfdb
