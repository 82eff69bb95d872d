// WFDB, PhysioNet's format for recordings: a text header (.hea), sample files (.dat, .mat) and annotations (.atr).
// Source: the manual pages header(5), signal(5) and annot(5) of the WFDB software package (physionet.org).
//
//   physical value = (sample − baseline) / gain
//
// Readers throw Error with one sentence that names the file and the line, signal or number of bytes at fault. A header
// may hold anything: no name in it leads elsewhere, and no number in it takes memory before the files were seen to hold
// what it promises. Where a function takes a `root`, the canonical path of a folder, files outside it are refused, with
// symbolic links followed; without one it is the folder of the record.
#pragma once

#include <cstdint>
#include <filesystem>
#include <limits>
#include <optional>
#include <string>
#include <vector>

namespace systole::data {

/// Stands where a sample file holds its format's code for "no value", where a skewed signal has run out, and where a
/// segment of a record lacks the signal.
inline constexpr int32_t kInvalidSample = std::numeric_limits<int32_t>::min();

/// One signal line of a header. Missing optional fields hold the defaults of header(5).
struct WfdbSignal {
  std::string file;           // beside the header; ~ for a signal without samples
  int format = 16;            // 0 (no samples), 8, 16, 24, 32, 61, 80, 160, 212, 310, 311
  int samples_per_frame = 1;  // samples of this signal for one tick of the record's sampling rate
  int skew = 0;               // frames by which the signal lies late in the file
  int64_t byte_offset = 0;    // of the first sample in the file
  double gain = 200;          // adu per unit; 200 where the header says 0 or nothing
  std::string unit = "mV";
  int baseline = 0;  // the sample that means 0 units; the ADC zero where the header does not say
  int adc_resolution = 12;
  int adc_zero = 0;
  int initial_value = 0;
  std::optional<int> checksum;  // as written; compared modulo 2^16
  int block_size = 0;
  std::string description;  // the lead's name
};

/// One part of a multi-segment record. `~` names a gap; a first segment without samples is the layout of the others.
struct WfdbSegment {
  std::string record;
  int64_t length = 0;
};

struct WfdbHeader {
  std::string record;
  double sampling_rate_hz = 250;  // frames per second
  double counter_rate_hz = 250;
  double base_counter = 0;
  int64_t length = 0;  // frames; 0: the header does not say
  std::string base_time, base_date;
  int signal_count = 0;             // equals signals.size() except in a multi-segment header, which lists segments
  std::vector<WfdbSignal> signals;  // of a multi-segment record read by read_wfdb: its layout's or its first segment's
  std::vector<WfdbSegment> segments;  // empty: a record of one piece
  std::vector<std::string> comments;  // without # and outer blanks
};

struct WfdbRecord {
  WfdbHeader header;
  int64_t length = 0;                         // frames
  std::vector<std::vector<int32_t>> samples;  // [signals][length · samples_per_frame], adu or kInvalidSample
};

/// (sample − baseline) / gain; NaN for kInvalidSample.
double physical_value(const WfdbSignal& signal, int32_t sample);

/// Reads `record`.hea; the path has no extension.
WfdbHeader read_wfdb_header(const std::filesystem::path& record, const std::filesystem::path& root = {});

/// Whether the sample files of a record of one piece are all there. Throws Error when one is shorter than the header
/// says.
bool has_sample_files(const std::filesystem::path& record, const WfdbHeader& header);

/// Reads the header and all samples, and compares the checksums. Parts of a multi-segment record are joined; where a
/// segment's gain or baseline differs from the record's, its samples are rescaled and rounded.
WfdbRecord read_wfdb(const std::filesystem::path& record, const std::filesystem::path& root = {});

/// One entry of an annotation file, with the numbers as they stand there.
struct Annotation {
  int64_t sample = 0;  // time, in ticks of the annotation file (the record's frames unless a note says otherwise)
  int code = 0;        // 0 … 49, table of annot(5)
  std::string symbol;  // N, V, + …; [42] for a code without one
  int subtype = 0;
  int channel = 0;
  int number = 0;
  std::string aux;
};

/// Reads an annotation file in MIT format, for example 100.atr.
std::vector<Annotation> read_annotations(const std::filesystem::path& path, const std::filesystem::path& root = {});

/// Writes `record`.hea and `record`.dat in format 16, one file for all leads, in PTB-XL's style, and creates the
/// folder. The initial values and checksums are right; the resolution is 16 bits and the ADC zero 0.
void write_wfdb16(const std::filesystem::path& record, double sampling_rate_hz, const std::vector<std::string>& leads,
                  double gain,  // adu per unit, for every lead
                  const std::string& unit, int baseline,
                  const std::vector<int16_t>& samples,  // [L, leads]
                  const std::vector<std::string>& comments = {});

}  // namespace systole::data
