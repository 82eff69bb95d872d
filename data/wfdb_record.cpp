// Reads the samples of a WFDB record: each sample file once, its signals decoded one after the other; the segments of a
// multi-segment record joined in time.

#include <algorithm>
#include <cmath>
#include <fmt/format.h>
#include <limits>

#include "data/input_file.h"
#include "data/wfdb_files.h"
#include "kernels/common/error.h"

namespace systole::data {
namespace {

using Samples = std::vector<std::vector<int32_t>>;  // [signals][length · samples_per_frame]

/// A record on the disk.
struct Place {
  std::filesystem::path record, root;  // without extension; canonical
  std::filesystem::path beside(const std::string& file) const { return record.parent_path() / file; }
};

/// How messages name a signal.
std::string name_of(const WfdbHeader& header, size_t signal) {
  const std::string& description = header.signals[signal].description;
  return fmt::format("signal {}{}", signal, description.empty() ? "" : fmt::format(" ({})", description));
}

/// Throws Error unless a record of this length can be: checked before memory is taken. Returns its samples.
int64_t check_size(const std::string& record, const std::vector<WfdbSignal>& signals, int64_t length) {
  int64_t frame_size = 0;
  for (const WfdbSignal& signal : signals) frame_size += signal.samples_per_frame;
  if (frame_size > 0 && length > wfdb::kMaximumSamples / frame_size)
    throw Error(fmt::format("The record {} would have {} frames of {} samples, expected at most {} samples in all.",
                            record, length, frame_size, wfdb::kMaximumSamples));
  return length * frame_size;
}

/// The same of samples that no file holds: a few words in a header can promise any number of them.
void check_without_data(const std::string& record, int64_t samples) {
  if (samples > wfdb::kMaximumSamplesWithoutData)
    throw Error(fmt::format("The record {} would have {} samples that stand in no file, expected at most {}.", record,
                            samples, wfdb::kMaximumSamplesWithoutData));
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
int64_t frames_in(int64_t file_size, const WfdbSignal& first, const Group& group) {
  const int64_t bytes = std::max<int64_t>(file_size - first.byte_offset, 0);
  return wfdb::samples_in(first.format, bytes) / group.frame_size;
}

/// Bytes that the samples of a group take. Throws Error when the file has fewer.
int64_t check_file_size(const std::filesystem::path& path, int64_t file_size, const WfdbSignal& first,
                        const Group& group, int64_t length) {
  const int64_t count = wfdb::bytes_of(first.format, length * group.frame_size);
  if (count > file_size - first.byte_offset)
    throw Error(
        fmt::format("The file {} has {} bytes, expected {} for {} frames of {} samples in format {} from byte {}.",
                    path.string(), file_size, static_cast<uint64_t>(first.byte_offset) + static_cast<uint64_t>(count),
                    length, group.frame_size, first.format, first.byte_offset));
  return count;
}

/// Decodes the signals of a group into `samples`.
void read_group(const Place& place, const WfdbHeader& header, const Group& group, int64_t length, Samples& samples) {
  const WfdbSignal& first = header.signals[group.begin];
  const std::filesystem::path path = place.beside(first.file);
  const InputFile file(path, place.root);
  const int64_t count = check_file_size(path, file.size(), first, group, length);
  const std::unique_ptr<uint8_t[]> bytes(new uint8_t[static_cast<size_t>(count + wfdb::kPadding)]);
  file.read(first.byte_offset, count, bytes.get());
  std::fill_n(bytes.get() + count, wfdb::kPadding, uint8_t{0});

  wfdb::Interleaving interleaving{length, group.frame_size, 0, 0};
  for (size_t s = group.begin; s < group.end; ++s) {
    const WfdbSignal& signal = header.signals[s];
    interleaving.samples_per_frame = signal.samples_per_frame;
    samples[s].resize(static_cast<size_t>(length * signal.samples_per_frame));
    const uint16_t sum =
        wfdb::decode_signal(signal.format, bytes.get(), interleaving, signal.initial_value, samples[s].data());
    check_checksum(place.record, header, s, sum);
    remove_skew(signal, samples[s]);
    interleaving.column += signal.samples_per_frame;
  }
}

/// The length of a record whose header does not give it: that of its shortest file.
int64_t length_of_files(const Place& place, const WfdbHeader& header) {
  int64_t length = std::numeric_limits<int64_t>::max();
  for (size_t s = 0; s < header.signals.size();) {
    const Group group = group_from(place.record, header, s);
    const WfdbSignal& first = header.signals[s];
    if (first.format != 0)
      length = std::min(length, frames_in(InputFile(place.beside(first.file), place.root).size(), first, group));
    s = group.end;
  }
  return length == std::numeric_limits<int64_t>::max() ? 0 : length;
}

/// Samples of a frame that stand in no file.
int64_t frame_size_without_data(const WfdbHeader& header) {
  int64_t size = 0;
  for (const WfdbSignal& signal : header.signals) size += signal.format == 0 ? signal.samples_per_frame : 0;
  return size;
}

/// The samples of a record of one piece.
Samples read_samples(const Place& place, const WfdbHeader& header, int64_t length) {
  check_size(place.record.string(), header.signals, length);
  check_without_data(place.record.string(), length * frame_size_without_data(header));
  Samples samples(header.signals.size());
  for (size_t s = 0; s < header.signals.size();) {
    const Group group = group_from(place.record, header, s);
    if (header.signals[s].format != 0) {
      read_group(place, header, group, length, samples);
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
  Place place;
  int64_t begin, length;
  WfdbHeader header;
};

/// Throws Error unless the header of a segment goes with the record's.
void check_segment(const Place& place, const WfdbHeader& record, const WfdbSegment& listed, const WfdbHeader& segment) {
  if (!segment.segments.empty())
    throw Error(fmt::format("The segment {} of the record {} has segments itself, expected a record of one piece.",
                            listed.record, place.record.string()));
  if (segment.length != 0 && segment.length != listed.length)
    throw Error(fmt::format("The segment {} has {} samples by its own header, expected {} from the record {}.",
                            listed.record, segment.length, listed.length, place.record.string()));
  if (segment.sampling_rate_hz != record.sampling_rate_hz)
    throw Error(fmt::format("The segment {} has the sampling rate {}, expected {} as in the record {}.", listed.record,
                            segment.sampling_rate_hz, record.sampling_rate_hz, place.record.string()));
}

/// Samples of a segment that its files hold. Throws Error when a file is shorter than that.
int64_t samples_with_data(const Segment& segment) {
  const int64_t all = check_size(segment.place.record.string(), segment.header.signals, segment.length);
  for (size_t s = 0; s < segment.header.signals.size();) {
    const Group group = group_from(segment.place.record, segment.header, s);
    const WfdbSignal& first = segment.header.signals[s];
    const std::filesystem::path path = segment.place.beside(first.file);
    if (first.format != 0)
      check_file_size(path, InputFile(path, segment.place.root).size(), first, group, segment.length);
    s = group.end;
  }
  return all - segment.length * frame_size_without_data(segment.header);
}

/// The headers of the segments, without gaps; the first one may be the layout, of length 0.
std::vector<Segment> read_segment_headers(const Place& place, const WfdbHeader& header) {
  std::vector<Segment> segments;
  int64_t begin = 0, bytes = 0;
  for (const WfdbSegment& listed : header.segments) {
    if (listed.record != "~") {
      Segment segment{{place.beside(listed.record), place.root}, begin, listed.length, {}};
      const std::string file = segment.place.record.string() + ".hea";
      const std::string text = read_text(file, wfdb::kMaximumHeaderBytes - bytes, place.root);
      bytes += static_cast<int64_t>(text.size());  // a record can list one large header a million times
      segment.header = wfdb::parse_header(text, file);
      check_segment(place, header, listed, segment.header);
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
                            segment.place.record.string(), signals.size(), record.signals.size()));
  std::vector<size_t> targets;
  std::vector<bool> taken(record.signals.size(), false);
  for (size_t s = 0; s < signals.size(); ++s) {
    size_t target = variable_layout ? 0 : s;
    while (target < taken.size() && (taken[target] || record.signals[target].description != signals[s].description ||
                                     record.signals[target].samples_per_frame != signals[s].samples_per_frame))
      target = variable_layout ? target + 1 : taken.size();
    if (target == taken.size())
      throw Error(fmt::format("The segment {} has {} with {} samples per frame, which the {} does not have.",
                              segment.place.record.string(), name_of(segment.header, s), signals[s].samples_per_frame,
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

WfdbRecord read_multi_segment(const Place& place, WfdbHeader header) {
  const std::string record = place.record.string();
  std::vector<Segment> segments = read_segment_headers(place, header);
  if (segments.empty())
    throw Error(fmt::format("The record {} consists of gaps, expected at least one segment.", record));
  WfdbRecord result;
  for (const WfdbSegment& listed : header.segments) result.length += listed.length;
  if (header.length != 0 && header.length != result.length)
    throw Error(fmt::format("The segments of the record {} have {} samples together, expected {} from its header.",
                            record, result.length, header.length));

  const bool variable_layout = header.segments.front().length == 0 && header.segments.front().record != "~";
  header.signals = segments.front().header.signals;
  if (header.signals.size() != static_cast<size_t>(header.signal_count))
    throw Error(fmt::format("The first segment of the record {} has {} signals, expected {} from its header.", record,
                            header.signals.size(), header.signal_count));
  if (variable_layout) segments.erase(segments.begin());
  int64_t without_data = check_size(record, header.signals, result.length);
  for (const Segment& segment : segments) without_data -= samples_with_data(segment);
  check_without_data(record, without_data);
  std::vector<std::vector<size_t>> targets;
  for (const Segment& segment : segments) targets.push_back(match_signals(header, segment, variable_layout));

  for (const WfdbSignal& signal : header.signals)
    result.samples.emplace_back(static_cast<size_t>(result.length * signal.samples_per_frame), kInvalidSample);
  for (size_t i = 0; i < segments.size(); ++i) {
    const Segment& segment = segments[i];
    const Samples samples = read_samples(segment.place, segment.header, segment.length);
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

bool has_sample_files(const std::filesystem::path& record, const WfdbHeader& header) {
  check_size(record.string(), header.signals, header.length);
  for (size_t s = 0; s < header.signals.size();) {
    const Group group = group_from(record, header, s);
    const WfdbSignal& first = header.signals[s];
    const std::filesystem::path path = record.parent_path() / first.file;
    s = group.end;
    if (first.format == 0 || first.file == "~") continue;
    std::error_code error;
    const auto size = std::filesystem::file_size(path, error);
    if (!error)
      check_file_size(path, static_cast<int64_t>(size), first, group, header.length);
    else if (!std::filesystem::exists(path))
      return false;
  }
  return true;
}

WfdbRecord read_wfdb(const std::filesystem::path& record, const std::filesystem::path& root) {
  const Place place{record, wfdb::root_or_folder(root, record)};
  WfdbHeader header = read_wfdb_header(record, place.root);
  if (!header.segments.empty()) return read_multi_segment(place, std::move(header));
  WfdbRecord result;
  result.length = header.length ? header.length : length_of_files(place, header);
  result.samples = read_samples(place, header, result.length);
  result.header = std::move(header);
  return result;
}

}  // namespace systole::data
