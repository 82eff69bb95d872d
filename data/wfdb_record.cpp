// Reads the samples of a WFDB record: each sample file once, its signals decoded one after the other; the segments of a
// multi-segment record joined in time.

#include <algorithm>
#include <cmath>
#include <fmt/format.h>
#include <limits>

#include "data/wfdb_files.h"
#include "kernels/common/error.h"

namespace systole::data {
namespace {

using Samples = std::vector<std::vector<int32_t>>;  // [signals][length · samples_per_frame]

/// How messages name a signal.
std::string name_of(const WfdbHeader& header, size_t signal) {
  const std::string& description = header.signals[signal].description;
  return fmt::format("signal {}{}", signal, description.empty() ? "" : fmt::format(" ({})", description));
}

/// Throws Error unless a record of this length can be: checked before memory is taken.
void check_size(const std::string& record, const std::vector<WfdbSignal>& signals, int64_t length) {
  int64_t frame_size = 0;
  for (const WfdbSignal& signal : signals) frame_size += signal.samples_per_frame;
  if (frame_size > 0 && length > wfdb::kMaximumSamples / frame_size)
    throw Error(fmt::format("The record {} would have {} frames of {} samples, expected at most {} samples in all.",
                            record, length, frame_size, wfdb::kMaximumSamples));
}

/// Consecutive signals of one file, which alternate in it frame by frame.
struct Group {
  size_t begin, end;
  int64_t frame_size = 0;
};

/// The group that begins with signal `begin`.
Group group_from(const std::filesystem::path& record, const WfdbHeader& header, size_t begin) {
  const WfdbSignal& first = header.signals[begin];
  Group group{begin, begin};
  while (group.end < header.signals.size() && header.signals[group.end].file == first.file) {
    const WfdbSignal& signal = header.signals[group.end];
    if (signal.format != first.format)
      throw Error(fmt::format("The record {} gives {} the format {}, expected {} as for the other signals of {}.",
                              record.string(), name_of(header, group.end), signal.format, first.format, first.file));
    group.frame_size += signal.samples_per_frame;
    ++group.end;
  }
  return group;
}

/// A signal whose samples stand `skew` samples late in the file is moved to its time; what follows its end is unknown.
void remove_skew(const WfdbSignal& signal, std::vector<int32_t>& samples) {
  const int64_t spf = signal.samples_per_frame;
  const int64_t frames = (2 * int64_t{signal.skew} + spf) / (2 * spf);  // headers give samples; whole frames are moved
  const auto late = std::min<int64_t>(frames * spf, static_cast<int64_t>(samples.size()));
  if (late == 0) return;
  std::fill(std::copy(samples.begin() + late, samples.end(), samples.begin()), samples.end(), kInvalidSample);
}

void check_checksum(const std::filesystem::path& record, const WfdbHeader& header, size_t s, uint16_t found) {
  const std::optional<int>& stated = header.signals[s].checksum;
  if (!stated || header.length == 0 || static_cast<uint16_t>(*stated) == found) return;
  throw Error(fmt::format("The checksum of {} of the record {} is {}, expected {} from the header.", name_of(header, s),
                          record.string(), found, static_cast<uint16_t>(*stated)));
}

/// Frames that the file of a group holds after its byte offset.
int64_t frames_in(const wfdb::InputFile& file, const WfdbSignal& first, const Group& group) {
  const int64_t bytes = std::max<int64_t>(file.size() - first.byte_offset, 0);
  return wfdb::samples_in(first.format, bytes) / group.frame_size;
}

/// Decodes the signals of a group into `samples`.
void read_group(const std::filesystem::path& record, const WfdbHeader& header, const Group& group, int64_t length,
                Samples& samples) {
  const WfdbSignal& first = header.signals[group.begin];
  const std::filesystem::path path = record.parent_path() / first.file;
  const wfdb::InputFile file(path);
  const int64_t count = wfdb::bytes_of(first.format, length * group.frame_size);
  if (count > file.size() - first.byte_offset)
    throw Error(
        fmt::format("The file {} has {} bytes, expected {} for {} frames of {} samples in format {} from byte {}.",
                    path.string(), file.size(), static_cast<uint64_t>(first.byte_offset) + static_cast<uint64_t>(count),
                    length, group.frame_size, first.format, first.byte_offset));
  const std::unique_ptr<uint8_t[]> bytes(new uint8_t[static_cast<size_t>(count + wfdb::kPadding)]);
  file.read(first.byte_offset, count, bytes.get());
  std::fill_n(bytes.get() + count, wfdb::kPadding, uint8_t{0});

  wfdb::Interleaving place{length, group.frame_size, 0, 0};
  for (size_t s = group.begin; s < group.end; ++s) {
    const WfdbSignal& signal = header.signals[s];
    place.samples_per_frame = signal.samples_per_frame;
    samples[s].resize(static_cast<size_t>(length * signal.samples_per_frame));
    const uint16_t sum =
        wfdb::decode_signal(signal.format, bytes.get(), place, signal.initial_value, samples[s].data());
    check_checksum(record, header, s, sum);
    remove_skew(signal, samples[s]);
    place.column += signal.samples_per_frame;
  }
}

/// The length of a record whose header does not give it: that of its shortest file.
int64_t length_of_files(const std::filesystem::path& record, const WfdbHeader& header) {
  int64_t length = std::numeric_limits<int64_t>::max();
  for (size_t s = 0; s < header.signals.size();) {
    const Group group = group_from(record, header, s);
    const WfdbSignal& first = header.signals[s];
    if (first.format != 0)
      length = std::min(length, frames_in(wfdb::InputFile(record.parent_path() / first.file), first, group));
    s = group.end;
  }
  return length == std::numeric_limits<int64_t>::max() ? 0 : length;
}

/// The samples of a record of one piece.
Samples read_samples(const std::filesystem::path& record, const WfdbHeader& header, int64_t length) {
  check_size(record.string(), header.signals, length);
  Samples samples(header.signals.size());
  for (size_t s = 0; s < header.signals.size();) {
    const Group group = group_from(record, header, s);
    if (header.signals[s].format != 0) {
      read_group(record, header, group, length, samples);
    } else {
      for (size_t i = s; i < group.end; ++i)
        samples[i].assign(static_cast<size_t>(length * header.signals[i].samples_per_frame), kInvalidSample);
    }
    s = group.end;
  }
  return samples;
}

/// One segment of a multi-segment record, with its place in time.
struct Segment {
  std::filesystem::path path;
  int64_t begin, length;
  WfdbHeader header;
};

/// The headers of the segments, without gaps; the first one may be the layout, of length 0.
std::vector<Segment> read_segment_headers(const std::filesystem::path& record, const WfdbHeader& header) {
  std::vector<Segment> segments;
  int64_t begin = 0;
  for (const WfdbSegment& listed : header.segments) {
    if (listed.record != "~") {
      Segment segment{record.parent_path() / listed.record, begin, listed.length, {}};
      segment.header = read_wfdb_header(segment.path);
      if (!segment.header.segments.empty())
        throw Error(fmt::format("The segment {} of the record {} has segments itself, expected a record of one piece.",
                                listed.record, record.string()));
      if (segment.header.length != 0 && segment.header.length != listed.length)
        throw Error(fmt::format("The segment {} has {} samples by its own header, expected {} from the record {}.",
                                listed.record, segment.header.length, listed.length, record.string()));
      if (segment.header.sampling_rate_hz != header.sampling_rate_hz)
        throw Error(fmt::format("The segment {} has the sampling rate {}, expected {} as in the record {}.",
                                listed.record, segment.header.sampling_rate_hz, header.sampling_rate_hz,
                                record.string()));
      segments.push_back(std::move(segment));
    }
    begin += listed.length;
  }
  return segments;
}

/// Which signal of the record each signal of a segment is: the same one in a fixed layout; in a variable layout the
/// first of its name that is still free.
std::vector<size_t> match_signals(const WfdbHeader& record, const Segment& segment, bool variable_layout) {
  const std::vector<WfdbSignal>& signals = segment.header.signals;
  if (!variable_layout && signals.size() != record.signals.size())
    throw Error(fmt::format("The segment {} has {} signals, expected {} as in the first segment.",
                            segment.path.string(), signals.size(), record.signals.size()));
  std::vector<size_t> targets;
  std::vector<bool> taken(record.signals.size(), false);
  for (size_t s = 0; s < signals.size(); ++s) {
    size_t target = variable_layout ? 0 : s;
    while (target < taken.size() && (taken[target] || record.signals[target].description != signals[s].description ||
                                     record.signals[target].samples_per_frame != signals[s].samples_per_frame))
      target = variable_layout ? target + 1 : taken.size();
    if (target == taken.size())
      throw Error(fmt::format("The segment {} has {} with {} samples per frame, which the {} does not have.",
                              segment.path.string(), name_of(segment.header, s), signals[s].samples_per_frame,
                              variable_layout ? "layout" : "first segment at its place"));
    taken[target] = true;
    targets.push_back(target);
  }
  return targets;
}

/// Copies samples to their place in the record. Where gain or baseline differ they become adu of the record, rounded
/// half up and saturated (sigmap of the WFDB library).
void place_samples(const WfdbSignal& from, const WfdbSignal& to, const std::vector<int32_t>& samples, int32_t* out) {
  if (from.gain == to.gain && from.baseline == to.baseline) {
    std::copy(samples.begin(), samples.end(), out);
    return;
  }
  const double scale = to.gain / from.gain;
  for (const int32_t sample : samples) {
    const double value = std::floor((static_cast<double>(sample) - from.baseline) * scale + to.baseline + 0.5);
    const double limit = std::numeric_limits<int32_t>::max();
    *out++ = sample == kInvalidSample ? sample : static_cast<int32_t>(std::clamp(value, -limit, limit));
  }
}

WfdbRecord read_multi_segment(const std::filesystem::path& record, WfdbHeader header) {
  std::vector<Segment> segments = read_segment_headers(record, header);
  if (segments.empty())
    throw Error(fmt::format("The record {} consists of gaps, expected at least one segment.", record.string()));
  WfdbRecord result;
  for (const WfdbSegment& listed : header.segments) result.length += listed.length;
  if (header.length != 0 && header.length != result.length)
    throw Error(fmt::format("The segments of the record {} have {} samples together, expected {} from its header.",
                            record.string(), result.length, header.length));

  const bool variable_layout = header.segments.front().length == 0 && header.segments.front().record != "~";
  header.signals = segments.front().header.signals;
  if (header.signals.size() != static_cast<size_t>(header.signal_count))
    throw Error(fmt::format("The first segment of the record {} has {} signals, expected {} from its header.",
                            record.string(), header.signals.size(), header.signal_count));
  if (variable_layout) segments.erase(segments.begin());
  check_size(record.string(), header.signals, result.length);
  std::vector<std::vector<size_t>> targets;
  for (const Segment& segment : segments) targets.push_back(match_signals(header, segment, variable_layout));

  for (const WfdbSignal& signal : header.signals)
    result.samples.emplace_back(static_cast<size_t>(result.length * signal.samples_per_frame), kInvalidSample);
  for (size_t i = 0; i < segments.size(); ++i) {
    const Segment& segment = segments[i];
    const Samples samples = read_samples(segment.path, segment.header, segment.length);
    for (size_t s = 0; s < samples.size(); ++s) {
      const WfdbSignal& to = header.signals[targets[i][s]];
      place_samples(segment.header.signals[s], to, samples[s],
                    result.samples[targets[i][s]].data() + segment.begin * to.samples_per_frame);
    }
  }
  result.header = std::move(header);
  return result;
}

}  // namespace

double physical_value(const WfdbSignal& signal, int32_t sample) {
  if (sample == kInvalidSample) return std::numeric_limits<double>::quiet_NaN();
  return (static_cast<double>(sample) - signal.baseline) / signal.gain;
}

WfdbRecord read_wfdb(const std::filesystem::path& record) {
  WfdbHeader header = read_wfdb_header(record);
  if (!header.segments.empty()) return read_multi_segment(record, std::move(header));
  WfdbRecord result;
  result.length = header.length ? header.length : length_of_files(record, header);
  result.samples = read_samples(record, header, result.length);
  result.header = std::move(header);
  return result;
}

}  // namespace systole::data
