// What the parts of the WFDB reader share: limits, the parsers of what is in memory, and the sample formats of
// signal(5).
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "data/wfdb.h"

namespace systole::data::wfdb {

/// No record may hold more samples, over all of its signals: larger numbers stand in damaged headers.
inline constexpr int64_t kMaximumSamples = int64_t{1} << 31;

/// Samples that stand in no file at all: of format 0, in gaps, and of leads that a segment lacks.
inline constexpr int64_t kMaximumSamplesWithoutData = int64_t{1} << 26;

/// Bytes of a record's headers, those of its segments included, and of an annotation file.
inline constexpr int64_t kMaximumHeaderBytes = int64_t{1} << 24, kMaximumAnnotationBytes = int64_t{1} << 28;

/// A gain of another magnitude (adu per unit) stands in a damaged header: values would leave the range of float.
inline constexpr double kSmallestGain = 1e-9, kLargestGain = 1e12;

/// The root as wfdb.h says: this one, or the canonical path of the folder that `file` is in.
std::filesystem::path root_or_folder(const std::filesystem::path& root, const std::filesystem::path& file);

/// A header and an annotation file in memory; `file` names them in messages.
WfdbHeader parse_header(std::string_view text, const std::string& file);
std::vector<Annotation> parse_annotations(std::string_view bytes, const std::string& file);

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
