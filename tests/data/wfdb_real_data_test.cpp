// Real records: the text that the original WFDB package (rdsamp and rdann 10.5.24) prints for its samples, and the
// checksums of whole data sets.

#include <algorithm>
#include <cstdio>
#include <memory>

#include "data/wfdb.h"
#include "kernels/common/error.h"
#include "tests/support.h"

namespace systole::data {
namespace {

namespace fs = std::filesystem;

/// The options of one rdsamp command: rdsamp -r record [-f seconds] [-t seconds] [-s signals] [-P].
struct Command {
  std::string program, record, annotator;
  double from = 0, to = -1;
  std::vector<size_t> signals;
  bool physical = false;
};

Command parse_command(const std::string& text) {
  std::istringstream words(text.substr(0, text.find_first_of("|>")));
  Command command;
  words >> command.program;
  for (std::string word, option; words >> word;) {
    if (word.front() == '-' && word.size() == 2) {
      option = word;
      command.physical |= option == "-P";
      continue;
    }
    if (option == "-r") command.record = word;
    if (option == "-a") command.annotator = word;
    if (option == "-f") command.from = std::stod(word);
    if (option == "-t") command.to = std::stod(word);
    if (option == "-s") command.signals.push_back(std::stoul(word));
  }
  return command;
}

/// What rdsamp prints, without its first column.
std::string print_samples(const WfdbRecord& record, Command command) {
  if (command.signals.empty())
    for (size_t s = 0; s < record.samples.size(); ++s) command.signals.push_back(s);
  const double rate = record.header.sampling_rate_hz;
  const auto begin = static_cast<size_t>(std::lround(command.from * rate));
  const auto end =
      command.to < 0 ? static_cast<size_t>(record.length) : static_cast<size_t>(std::lround(command.to * rate));
  std::string text;
  for (size_t i = begin; i < end; ++i) {
    for (const size_t s : command.signals) {
      const int32_t sample = record.samples.at(s).at(i);
      if (command.physical)
        text += fmt::format("{:15.8f}", physical_value(record.header.signals[s], sample));
      else
        text += fmt::format("{:7d}", sample == kInvalidSample ? -32768 : sample);
      text += s == command.signals.back() ? '\n' : '\t';
    }
  }
  return text;
}

/// What rdann prints.
std::string print_annotations(const std::vector<Annotation>& annotations, double rate) {
  std::string text;
  for (const Annotation& a : annotations) {
    const auto ms = std::lround(static_cast<double>(a.sample) / rate * 1000);
    text += fmt::format("{:>12}  {:7}{:>6}{:5}{:5}{:5}",
                        fmt::format("{}:{:02}.{:03}", ms / 60000, ms / 1000 % 60, ms % 1000), a.sample, a.symbol,
                        a.subtype, a.channel, a.number);
    text += a.aux.empty() ? "\n" : "\t" + a.aux + "\n";
  }
  return text;
}

std::string read_target(const fs::path& path) {
  if (path.extension() != ".gz") return test::read_file(path);
  const std::unique_ptr<FILE, int (*)(FILE*)> pipe(popen(fmt::format("gzip -dc '{}'", path.string()).c_str(), "r"),
                                                   pclose);
  REQUIRE(pipe);
  std::string text;
  char buffer[4096];
  for (size_t got; (got = fread(buffer, 1, sizeof buffer, pipe.get())) > 0;) text.append(buffer, got);
  return text;
}

TEST_CASE("wfdb: every reference output of the original package is reproduced to the letter") {
  const fs::path folder = test::real_data("wfdb_oracles");
  if (folder.empty()) return;
  std::istringstream manifest(test::read_file(folder / "MANIFEST.tsv"));
  int checked = 0;
  for (std::string line; std::getline(manifest, line);) {
    if (line.empty() || line.front() == '#') continue;
    const size_t first = line.find('\t'), second = line.find('\t', first + 1);
    const Command command = parse_command(line.substr(second + 1));
    CAPTURE(line);
    const fs::path record = folder / command.record;
    const std::string printed = command.program == "rdann"
                                    ? print_annotations(read_annotations(record.string() + "." + command.annotator),
                                                        read_wfdb_header(record).sampling_rate_hz)
                                    : print_samples(read_wfdb(record), command);
    const bool same = printed == read_target(folder / "target-output" / line.substr(first + 1, second - first - 1));
    CHECK(same);
    ++checked;
  }
  CHECK(checked == 5);
}

/// Reads every record below a folder; a record that cannot be read fails the test. Returns their number.
int read_all(const fs::path& folder, size_t* checksums, int64_t* invalid) {
  int records = 0;
  for (const fs::directory_entry& entry : fs::recursive_directory_iterator(folder)) {
    if (entry.path().extension() != ".hea") continue;
    const WfdbRecord record = read_wfdb(fs::path(entry.path()).replace_extension());
    for (size_t s = 0; s < record.samples.size(); ++s) {
      *checksums += record.header.signals[s].checksum.has_value();
      *invalid += std::count(record.samples[s].begin(), record.samples[s].end(), kInvalidSample);
    }
    ++records;
  }
  return records;
}

TEST_CASE("wfdb: all records of the data sets read, with right checksums") {
  for (const std::string name : {"ptbxl", "ptbxl_z100", "ludb", "code15_chagas", "cinc2021", "mitdb", "wfdb_oracles"}) {
    const fs::path folder = test::real_data(name);
    if (folder.empty()) continue;
    CAPTURE(name);
    size_t checksums = 0;
    int64_t invalid = 0;
    const int records = read_all(folder, &checksums, &invalid);
    MESSAGE(name << ": " << records << " records, " << checksums << " checksums");
    CHECK(records > 0);
    CHECK(checksums > 0);
    CHECK(invalid == 0);
  }
}

TEST_CASE("wfdb: masked leads of a damaged header load as invalid samples") {
  const fs::path folder = test::real_data("edge_cases");
  if (folder.empty()) return;
  const WfdbRecord record = read_wfdb(folder / "01018_lr");
  CHECK(record.samples.size() == 12);
  CHECK(record.header.signals.at(3).description == "AVR");
  CHECK(!record.header.signals.at(3).checksum);
  int64_t invalid = 0;
  for (const auto& samples : record.samples) invalid += std::count(samples.begin(), samples.end(), kInvalidSample);
  CHECK(invalid == 8250);
  const WfdbRecord zero = read_wfdb(folder / "9190_all_data_is_zero");
  CHECK(physical_value(zero.header.signals.at(0), zero.samples.at(0).at(0)) == 0);
}

TEST_CASE("wfdb: a record of PTB-XL that is written again has the same bytes") {
  const fs::path folder = test::real_data("ptbxl");
  if (folder.empty()) return;
  const fs::path original = folder / "records100/00000/00049_lr";
  const WfdbRecord record = read_wfdb(original);
  std::vector<std::string> leads;
  for (const WfdbSignal& signal : record.header.signals) leads.push_back(signal.description);
  std::vector<int16_t> samples;
  for (size_t i = 0; i < static_cast<size_t>(record.length); ++i)
    for (const auto& lead : record.samples) samples.push_back(static_cast<int16_t>(lead[i]));
  const test::TemporaryFolder copy;
  write_wfdb16(copy / "00049_lr", 100, leads, 1000, "mV", 0, samples);
  for (const char* extension : {".hea", ".dat"}) {
    const bool same =
        test::read_file(copy / "00049_lr" += extension) == test::read_file(fs::path(original) += extension);
    CHECK(same);
  }
}

}  // namespace
}  // namespace systole::data
