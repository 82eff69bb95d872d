// The text header of a WFDB record, header(5):
//
//   record[/segments] signals [rate[/counter rate[(base)]] [length [time [date]]]]
//   file format[xsamples_per_frame][:skew][+offset] [gain[(baseline)][/unit] [resolution [zero [initial [checksum
//   [block
//        [description]]]]]]]                                  one line per signal, or, of a multi-segment record,
//   segment length                                            one line per segment
//   # comment

#include <charconv>
#include <cmath>
#include <fmt/format.h>
#include <string_view>

#include "data/input_file.h"
#include "data/wfdb_files.h"
#include "kernels/common/error.h"

namespace systole::data {
namespace {

bool is_blank(char c) {
  return c == ' ' || (c >= '\t' && c <= '\r');
}

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && is_blank(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_blank(text.back())) text.remove_suffix(1);
  return text;
}

/// One line of the header, taken apart from the left; knows what to say when a field is wrong.
class Line {
 public:
  Line(std::string_view text, std::string_view file, int number) : rest_(trimmed(text)), file_(file), number_(number) {}

  std::string source() const { return fmt::format("{}, line {}", file_, number_); }
  std::string_view rest() const { return rest_; }

  std::string_view next_field() {
    size_t length = 0;
    while (length < rest_.size() && !is_blank(rest_[length])) ++length;
    const std::string_view field = rest_.substr(0, length);
    while (length < rest_.size() && is_blank(rest_[length])) ++length;
    rest_.remove_prefix(length);
    return field;
  }

  [[noreturn]] void fail(std::string_view what, std::string_view found, std::string_view expected) const {
    throw Error(fmt::format("{}: the {} is \"{}\", expected {}.", source(), what, found, expected));
  }

  template <class Integer>
  Integer whole_number(std::string_view what, std::string_view text, Integer least) const {
    const std::string_view digits = text.starts_with('+') ? text.substr(1) : text;
    Integer value = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    if (error != std::errc{} || end != digits.data() + digits.size() || value < least)
      fail(what, text,
           least == std::numeric_limits<Integer>::min() ? "a whole number"
                                                        : fmt::format("a whole number from {} on", least));
    return value;
  }

  double number(std::string_view what, std::string_view text) const {
    const std::string_view digits = text.starts_with('+') ? text.substr(1) : text;
    double value = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    if (error != std::errc{} || end != digits.data() + digits.size() || !std::isfinite(value))
      fail(what, text, "a number");
    return value;
  }

 private:
  std::string_view rest_, file_;
  int number_;
};

/// Hands out the lines that are neither blank nor comments, and collects the comments.
class Lines {
 public:
  Lines(std::string_view file, std::string_view text) : file_(file), text_(text) {}

  /// Throws Error when there is no further line, saying what is missing: `what` (number `i` of `count`).
  Line next(std::string_view what, int i, int count) {
    std::string_view text;
    if (!find(text))
      throw Error(fmt::format("{} ends after line {}, expected {} {} of {}.", file_, number_, what, i, count));
    return {text, file_, number_};
  }

  /// Reads on to the end, where only comments may stand.
  std::vector<std::string> comments(std::string_view last) {
    std::string_view text;
    if (find(text))
      throw Error(fmt::format("{}, line {}: \"{}\" stands after {}, where only comments may stand.", file_, number_,
                              trimmed(text), last));
    return std::move(comments_);
  }

 private:
  bool find(std::string_view& line) {
    while (!text_.empty()) {
      const size_t length = std::min(text_.find('\n'), text_.size());
      line = text_.substr(0, length);
      text_.remove_prefix(std::min(length + 1, text_.size()));
      ++number_;
      const std::string_view content = trimmed(line);
      if (!content.empty() && content.front() != '#') return true;
      if (!content.empty()) comments_.emplace_back(trimmed(content.substr(1)));
    }
    return false;
  }

  std::string_view file_, text_;
  int number_ = 0;
  std::vector<std::string> comments_;
};

/// Splits `text` at the first `mark`: what stands before it is returned, what follows stays.
std::string_view cut(std::string_view& text, char mark) {
  const size_t at = std::min(text.find(mark), text.size());
  const std::string_view before = text.substr(0, at);
  text.remove_prefix(std::min(at + 1, text.size()));
  return before;
}

/// A header must not make its reader open files elsewhere.
void check_stays_below(const Line& line, std::string_view name) {
  if (!stays_below(name)) line.fail("name", name, "a file in or below the header's folder");
}

/// rate[/counter rate[(base)]]
void parse_rates(const Line& line, std::string_view field, WfdbHeader& header) {
  std::string_view counter = field;
  header.sampling_rate_hz = line.number("sampling rate", cut(counter, '/'));
  if (!(header.sampling_rate_hz > 0)) line.fail("sampling rate", field, "a number above 0");
  header.counter_rate_hz = header.sampling_rate_hz;
  if (counter.empty()) return;
  const std::string_view rate = cut(counter, '(');
  if (const double value = line.number("counter rate", rate); value > 0) header.counter_rate_hz = value;
  if (!counter.empty()) header.base_counter = line.number("base counter value", cut(counter, ')'));
}

/// The record line; returns how many segments it promises, 0 for a record of one piece.
int parse_record_line(Line line, WfdbHeader& header) {
  std::string_view name = line.next_field();
  header.record = cut(name, '/');
  const int segments = name.empty() ? 0 : line.whole_number("number of segments", name, 1);
  header.signal_count = line.whole_number("number of signals", line.next_field(), 0);
  if (line.rest().empty()) return segments;
  parse_rates(line, line.next_field(), header);
  if (line.rest().empty()) return segments;
  const std::string_view length = line.next_field();
  header.length = line.whole_number<int64_t>("number of samples per signal", length, 0);
  if (header.length > wfdb::kMaximumSamples)
    line.fail("number of samples per signal", length, fmt::format("at most {}", wfdb::kMaximumSamples));
  header.base_time = line.next_field();
  header.base_date = line.rest();
  if (header.base_time.find(':') == std::string::npos && header.base_date.find(':') != std::string::npos)
    std::swap(header.base_time, header.base_date);  // the order of the PhysioNet challenges
  return segments;
}

/// format[xsamples_per_frame][:skew][+offset]
void parse_format(const Line& line, std::string_view field, WfdbSignal& signal) {
  const auto is_mark = [](char c) { return c == 'x' || c == ':' || c == '+'; };
  const auto number_length = [&](std::string_view text) {
    size_t length = 0;
    while (length < text.size() && !is_mark(text[length])) ++length;
    return length;
  };
  const std::string_view format = field.substr(0, number_length(field));
  signal.format = line.whole_number("format", format, 0);
  if (!wfdb::is_known_format(signal.format))
    line.fail("format", format, "0, 8, 16, 24, 32, 61, 80, 160, 212, 310 or 311");

  std::string_view modifiers = field.substr(format.size());
  while (!modifiers.empty()) {
    const char mark = modifiers.front();
    modifiers.remove_prefix(1);
    const std::string_view number = modifiers.substr(0, number_length(modifiers));
    modifiers.remove_prefix(number.size());
    if (mark == 'x') signal.samples_per_frame = line.whole_number("number of samples per frame", number, 1);
    if (mark == ':') signal.skew = line.whole_number("skew", number, 0);
    if (mark == '+') signal.byte_offset = line.whole_number<int64_t>("byte offset", number, 0);
  }
}

/// gain[(baseline)][/unit]; returns whether the baseline is given.
bool parse_gain(const Line& line, std::string_view field, WfdbSignal& signal) {
  std::string_view unit = field;
  std::string_view baseline = cut(unit, '/');
  const std::string_view gain = cut(baseline, '(');
  signal.gain = line.number("gain", gain);
  if (signal.gain == 0) signal.gain = 200;  // "uncalibrated"; DEFGAIN of the WFDB library
  if (std::abs(signal.gain) < wfdb::kSmallestGain || std::abs(signal.gain) > wfdb::kLargestGain)
    line.fail("gain", gain, fmt::format("0 or a magnitude from {} to {}", wfdb::kSmallestGain, wfdb::kLargestGain));
  if (!unit.empty()) signal.unit = unit;
  if (baseline.empty()) return false;
  signal.baseline = line.whole_number("baseline", cut(baseline, ')'), std::numeric_limits<int>::min());
  if (!baseline.empty()) line.fail("gain", field, "gain(baseline)/unit");
  return true;
}

/// The next of the optional whole numbers of a signal line. A field that does not begin like a number opens the
/// description: there are headers whose last numbers are blank.
std::optional<int> optional_number(Line& line, std::string_view what) {
  const std::string_view rest = line.rest();
  const bool sign = rest.starts_with('-') || rest.starts_with('+');
  if (rest.size() <= size_t{sign} || rest[sign] < '0' || rest[sign] > '9') return std::nullopt;
  return line.whole_number(what, line.next_field(), std::numeric_limits<int>::min());
}

WfdbSignal parse_signal_line(Line line) {
  WfdbSignal signal;
  signal.file = line.next_field();
  check_stays_below(line, signal.file);
  parse_format(line, line.next_field(), signal);
  bool has_baseline = false;
  if (!line.rest().empty()) has_baseline = parse_gain(line, line.next_field(), signal);

  signal.adc_resolution = optional_number(line, "ADC resolution").value_or(0);
  if (signal.adc_resolution == 0) signal.adc_resolution = signal.format == 8 ? 10 : 12;
  signal.adc_zero = optional_number(line, "ADC zero").value_or(0);
  if (!has_baseline) signal.baseline = signal.adc_zero;
  signal.initial_value = optional_number(line, "initial value").value_or(signal.adc_zero);
  signal.checksum = optional_number(line, "checksum");
  signal.block_size = optional_number(line, "block size").value_or(0);
  signal.description = line.rest();
  return signal;
}

WfdbSegment parse_segment_line(Line line) {
  WfdbSegment segment;
  segment.record = line.next_field();
  check_stays_below(line, segment.record);
  const std::string_view length = line.next_field();
  segment.length = line.whole_number<int64_t>("length of the segment", length, 0);
  if (segment.length > wfdb::kMaximumSamples)
    line.fail("length of the segment", length, fmt::format("at most {}", wfdb::kMaximumSamples));
  return segment;
}

}  // namespace

WfdbHeader wfdb::parse_header(std::string_view text, const std::string& file) {
  Lines lines(file, text);
  WfdbHeader header;
  const int segments = parse_record_line(lines.next("record line", 1, 1), header);
  for (int i = 0; i < segments; ++i)
    header.segments.push_back(parse_segment_line(lines.next("segment", i + 1, segments)));
  for (int i = 0; segments == 0 && i < header.signal_count; ++i)
    header.signals.push_back(parse_signal_line(lines.next("signal", i + 1, header.signal_count)));
  header.comments = lines.comments(segments ? "the last segment" : "the last signal");
  return header;
}

WfdbHeader read_wfdb_header(const std::filesystem::path& record, const std::filesystem::path& root) {
  const std::string file = record.string() + ".hea";
  return wfdb::parse_header(read_text(file, wfdb::kMaximumHeaderBytes, wfdb::root_or_folder(root, file)), file);
}

}  // namespace systole::data
