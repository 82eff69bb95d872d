// systole bench data: how fast records come into memory, from their WFDB files and from a pack, beside wfdb-python.
// benchmarks/README.md says how to read the numbers.

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <ctime>
#include <fcntl.h>
#include <fmt/format.h>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <numeric>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "benchmarks/origin.h"
#include "benchmarks/timing.h"
#include "data/pack.h"
#include "engine/checkpoint/atomic_file.h"
#include "kernels/common/parallel.h"
#include "tools/bench.h"
#include "tools/bench_peer.h"
#include "tools/bench_scaling.h"
#include "tools/command.h"
#include "tools/ecg_data.h"
#include "tools/temporary_folder.h"
#include "tools/worker_process.h"

namespace systole::tools {
namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

struct DataBenchOptions {
  CommonOptions common;
  DataOptions data;
  std::vector<int> records;
  int samples = 5;
  std::string peer = "auto", commit = benchmarks::commit();
  fs::path json;
};

constexpr const char* kPeer = "wfdb-python";

// --- Files and the page cache ----------------------------------------------------------------------------------------

/// A file open for reading. One that is gone is as good as one that is not in the cache.
class OpenFile {
 public:
  explicit OpenFile(const fs::path& path) : descriptor_(open(path.c_str(), O_RDONLY | O_CLOEXEC)) {}
  ~OpenFile() {
    if (descriptor_ >= 0) close(descriptor_);
  }
  OpenFile(const OpenFile&) = delete;
  OpenFile& operator=(const OpenFile&) = delete;
  int descriptor() const { return descriptor_; }

 private:
  int descriptor_;
};

/// Its pages must be clean: written back to the disk.
void drop_from_page_cache(const fs::path& path) {
  posix_fadvise(OpenFile(path).descriptor(), 0, 0, POSIX_FADV_DONTNEED);
}

/// How much of a file of our own is in the page cache, 0 to 1.
double cached_part(const fs::path& path) {
  const size_t size = fs::file_size(path), page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  void* bytes = mmap(nullptr, size, PROT_READ, MAP_SHARED, OpenFile(path).descriptor(), 0);
  if (bytes == MAP_FAILED) throw Error(fmt::format("{} cannot be mapped into memory", path.string()));
  std::vector<unsigned char> resident((size + page - 1) / page);
  mincore(bytes, size, resident.data());
  munmap(bytes, size);
  const auto cached = std::count_if(resident.begin(), resident.end(), [](unsigned char r) { return r & 1; });
  return static_cast<double>(cached) / static_cast<double>(resident.size());
}

/// What the disk can do: the file in large pieces, from first to last.
void read_file(const fs::path& path) {
  const OpenFile file(path);
  std::vector<char> piece(size_t{1} << 20);
  while (read(file.descriptor(), piece.data(), piece.size()) > 0) {
  }
}

// --- What is read ----------------------------------------------------------------------------------------------------

/// Records of a folder, as WFDB files and as a pack of them.
struct Subject {
  std::vector<data::RecordSource> sources;
  data::RecordRules rules;
  data::LoadOptions from_wfdb, from_pack;
  fs::path list;         // of the records, for the peer
  uint32_t crc = 0;      // of all samples
  double megabytes = 0;  // of all samples

  data::Dataset load_wfdb() const {
    data::LoadReport report;
    return data::load_records(sources, rules, from_wfdb, report);
  }
  data::Dataset load_pack() const {
    data::LoadReport report;
    return data::load_pack(from_pack, "none", report);
  }
  void drop_wfdb() const {
    for (const data::RecordSource& source : sources)
      for (const char* extension : {".hea", ".dat", ".mat"}) drop_from_page_cache(source.path.string() + extension);
  }
};

std::vector<data::RecordSource> sources_of(const data::Dataset& dataset, const fs::path& root) {
  std::vector<data::RecordSource> sources;
  for (size_t r = 0; r < dataset.records(); ++r)
    sources.push_back({root / dataset.record_name[r],
                       dataset.record_name[r],
                       dataset.record_id[r],
                       dataset.patient_id[r],
                       dataset.fold[r],
                       {}});
  return sources;
}

/// The first records of a data set, packed below the folder.
Subject prepare_subject(const DataBenchOptions& o, const data::Dataset& all, size_t records, const fs::path& folder) {
  Subject s;
  s.sources = sources_of(all, o.data.root);
  s.sources.resize(records);
  s.rules = {.name = all.name, .label_set = "none", .classes = {}};
  if (!fs::exists(o.data.root / "ptbxl_database.csv")) s.rules.cut_to = all.length;
  s.from_wfdb = {.root = o.data.root, .sampling_rate_hz = o.data.sampling_rate_hz};
  s.from_pack = {.root = folder / "pack.ecgs", .sampling_rate_hz = o.data.sampling_rate_hz};
  data::PackContents contents;
  contents.signals = s.load_wfdb();
  data::write_pack(s.from_pack.root, contents);
  const std::vector<int16_t>& samples = contents.signals.samples;
  s.crc = static_cast<uint32_t>(
      crc32_z(0, reinterpret_cast<const Bytef*>(samples.data()), samples.size() * sizeof(int16_t)));
  s.megabytes = static_cast<double>(samples.size() * sizeof(int16_t)) / 1e6;
  const data::Dataset packed = s.load_pack();
  if (packed.samples != samples || packed.scale != contents.signals.scale || packed.offset != contents.signals.offset ||
      packed.record_id != contents.signals.record_id)
    throw Error("the pack gives other records than the WFDB files");

  s.list = folder / "records.txt";
  std::string names;
  for (const data::RecordSource& source : s.sources) names += fs::absolute(source.path).string() + "\n";
  write_file_atomically(s.list, names);
  return s;
}

// --- Who reads -------------------------------------------------------------------------------------------------------

/// How long reading took: by the clock, and what the processor worked on it, over all threads. Other programs on the
/// machine lengthen the first, and hardly the second.
struct Sample {
  double seconds, cpu_seconds;
};

/// One way to read the records, with the times of each round.
struct Way {
  std::string name, cache;
  int thread_count;
  std::function<void()> prepare;  // not timed
  std::function<Sample()> sample;
  std::vector<double> seconds{}, cpu_seconds{};
};

double cpu_seconds() {
  timespec time = {};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

std::function<Sample()> timed(int thread_count, const std::function<void()>& read) {
  return [thread_count, read] {
    set_threads(thread_count);
    const double cpu_start = cpu_seconds();
    const auto start = std::chrono::steady_clock::now();
    read();
    const std::chrono::duration<double> passed = std::chrono::steady_clock::now() - start;
    return Sample{passed.count(), cpu_seconds() - cpu_start};
  };
}

/// A Python that reads the same records.
class Peer {
 public:
  Peer(const std::string& python, const fs::path& list)
      : process_(kPeer, {python, peer_script("wfdb_read.py").string(), "--records", list.string()}) {
    const auto answer = nlohmann::json::parse(process_.line());
    if (answer.contains("missing")) throw Error(fmt::format("{}: {}", python, answer["missing"].get<std::string>()));
    name_ = answer.at("name");
  }
  const std::string& name() const { return name_; }
  uint32_t crc() { return static_cast<uint32_t>(std::stoul(ask("check"))); }
  Sample sample() {
    const auto times = nlohmann::json::parse(ask("time"));
    return {times.at("seconds"), times.at("cpu_seconds")};
  }

 private:
  std::string ask(const std::string& question) {
    process_.send(question);
    return process_.line();
  }

  WorkerProcess process_;
  std::string name_;
};

/// Nobody where there is no such Python; `why_not` then says why. Throws UsageError for one that was named.
std::unique_ptr<Peer> start_peer(const std::string& python, const fs::path& list, std::string& why_not) {
  why_not = "--peer none";
  if (python == "none") return nullptr;
  try {
    return std::make_unique<Peer>(python == "auto" ? "python3" : python, list);
  } catch (const nlohmann::json::exception&) {
    why_not = fmt::format("{} does not answer as wfdb_read.py does", python);
  } catch (const Error& error) {
    why_not = error.what();
  }
  if (python != "auto") throw UsageError(fmt::format("--peer must be a Python with wfdb: {}", why_not));
  return nullptr;
}

std::vector<Way> ways_of(const Subject& s, int all_threads, Peer* peer) {
  const auto wfdb = [&s] { s.load_wfdb(); };
  const auto pack = [&s] { s.load_pack(); };
  const auto drop_pack = [&s] { drop_from_page_cache(s.from_pack.root); };
  const auto warm_pack = [&s] { read_file(s.from_pack.root); };
  std::vector<int> thread_counts{all_threads};
  if (all_threads > 1) thread_counts.push_back(1);
  std::vector<Way> ways;
  for (const int n : thread_counts) {
    ways.push_back({"wfdb", "warm", n, [] {}, timed(n, wfdb)});
    ways.push_back({"pack", "warm", n, warm_pack, timed(n, pack)});
  }
  ways.push_back({"wfdb", "cold", all_threads, [&s] { s.drop_wfdb(); }, timed(all_threads, wfdb)});
  ways.push_back({"pack", "cold", all_threads, drop_pack, timed(all_threads, pack)});
  ways.push_back({"read only", "cold", 1, drop_pack, timed(1, [&s] { read_file(s.from_pack.root); })});
  if (peer) ways.push_back({kPeer, "warm", 1, [] {}, [peer] { return peer->sample(); }});
  return ways;
}

/// The ways take turns, and who begins changes.
void take_samples(std::vector<Way>& ways, int samples, const Subject& s) {
  s.load_wfdb();  // its files are in the cache from now on, unless they are dropped for a sample
  for (int round = 0; round < samples; ++round)
    for (size_t i = 0; i < ways.size(); ++i) {
      Way& way = ways[(i + static_cast<size_t>(round)) % ways.size()];
      way.prepare();
      const Sample sample = way.sample();
      way.seconds.push_back(sample.seconds);
      way.cpu_seconds.push_back(sample.cpu_seconds);
      if (way.name == "wfdb" && way.cache == "cold") s.load_wfdb();
    }
}

// --- What comes out --------------------------------------------------------------------------------------------------

/// How many times as long as one took another, round by round: the median.
double times(const std::vector<double>& other, const std::vector<double>& one) {
  std::vector<double> ratios;
  for (size_t i = 0; i < one.size(); ++i) ratios.push_back(other[i] / one[i]);
  return benchmarks::median(ratios);
}

ordered_json row_of(const Way& way, const std::vector<Way>& ways, const Subject& s) {
  const double seconds = benchmarks::median(way.seconds), records = static_cast<double>(s.sources.size());
  ordered_json row{{"records", s.sources.size()},
                   {"by", way.name},
                   {"cache", way.cache},
                   {"threads", way.thread_count},
                   {"seconds", seconds},
                   {"fastest", *std::min_element(way.seconds.begin(), way.seconds.end())},
                   {"slowest", *std::max_element(way.seconds.begin(), way.seconds.end())},
                   {"rounds", way.seconds},
                   {"cpu_seconds", benchmarks::median(way.cpu_seconds)},
                   {"records_per_second", records / seconds},
                   {"megabytes_per_second", s.megabytes / seconds}};
  for (const Way& other : ways) {
    if (other.name == kPeer && way.name != kPeer && way.cache == "warm") {
      row["times_as_fast_as_peer"] = times(other.seconds, way.seconds);
      row["times_less_cpu_than_peer"] = times(other.cpu_seconds, way.cpu_seconds);
    }
    if (other.name == "read only" && way.cache == "cold" && way.name == "pack")
      row["of_disk"] = times(other.seconds, way.seconds);
  }
  return row;
}

void print_head(const data::Dataset& all, int all_threads, const std::string& peer) {
  fmt::print("{}, {} threads; {}: records of {} leads x {} samples; {}\n", benchmarks::processor(), all_threads,
             all.name, all.lead_count(), all.length, peer);
  fmt::print("{:>8} {:<12} {:<5} {:>7} {:>11} {:>7} {:>11} {:>9} {:>10} {:>7} {:>9} {:>8}\n", "records", "by", "cache",
             "threads", "ms", "spread", "records/s", "MB/s", "CPU us/rec", "x peer", "x its CPU", "of disk");
}

void print(const ordered_json& row) {
  const auto text = [&](const char* key, const char* format, double factor) {
    return row.contains(key) ? fmt::format(fmt::runtime(format), factor * row[key].get<double>()) : std::string();
  };
  const double seconds = row["seconds"];
  fmt::print("{:>8} {:<12} {:<5} {:>7} {:>11.2f} {:>6.0f}% {:>11.0f} {:>9.1f} {:>10.1f} {:>7} {:>9} {:>8}\n",
             row["records"].get<size_t>(), row["by"].get<std::string>(), row["cache"].get<std::string>(),
             row["threads"].get<int>(), 1e3 * seconds,
             100 * (row["slowest"].get<double>() - row["fastest"].get<double>()) / seconds,
             row["records_per_second"].get<double>(), row["megabytes_per_second"].get<double>(),
             1e6 * row["cpu_seconds"].get<double>() / row["records"].get<double>(),
             text("times_as_fast_as_peer", "{:.1f}", 1), text("times_less_cpu_than_peer", "{:.1f}", 1),
             text("of_disk", "{:.0f}%", 100));
  std::fflush(stdout);
}

ordered_json exponents_of(const ordered_json& rows) {
  std::map<std::string, std::vector<std::pair<double, double>>> by_way;
  for (const ordered_json& row : rows)
    by_way[fmt::format("{} {}, threads: {}", row["by"].get<std::string>(), row["cache"].get<std::string>(),
                       row["threads"].get<int>())]
        .emplace_back(row["records"].get<double>(), row["seconds"].get<double>());
  ordered_json exponents = ordered_json::object();
  for (const auto& [way, points] : by_way) {
    exponents[way] = fitted_exponent(points);
    fmt::print("time of {} grows as records^{:.2f}\n", way, exponents[way].get<double>());
  }
  return exponents;
}

// --- The command -----------------------------------------------------------------------------------------------------

void check(const DataBenchOptions& o) {
  require_option(o.samples >= 1 && o.samples <= 1000, "--samples", "between 1 and 1000", std::to_string(o.samples));
  if (!o.json.empty()) check_file_writable(o.json);
  if (data::is_pack(o.data.root))
    throw UsageError(
        fmt::format("--data-root must be a folder of WFDB records, not the file {}", o.data.root.string()));
}

/// All records, which must be comparable sample by sample with what is in their files.
data::Dataset load_all(const DataBenchOptions& o) {
  data::Dataset all = load(o.data, {});
  for (const std::string& name : {all.record_name.front(), all.record_name.back()})
    if (!fs::exists(o.data.root / (name + ".hea")))
      throw UsageError(fmt::format(
          "--data-root must be a folder whose records are WFDB files with the 12 leads, not {}", o.data.root.string()));
  return all;
}

std::vector<size_t> sizes(const DataBenchOptions& o, size_t available) {
  if (o.records.empty()) return {available};
  std::vector<size_t> sizes;
  for (const int records : o.records) {
    require_option(records >= 1 && static_cast<size_t>(records) <= available, "--records",
                   fmt::format("between 1 and the {} records of the data set", available), std::to_string(records));
    if (std::count(sizes.begin(), sizes.end(), static_cast<size_t>(records)))
      throw UsageError(fmt::format("--records must be different numbers, and {} is there twice", records));
    sizes.push_back(static_cast<size_t>(records));
  }
  return sizes;
}

void bench_data(const DataBenchOptions& o) {
  check(o);
  prepare_host(o.common);
  const int all_threads = threads();
  const data::Dataset all = load_all(o);
  const std::vector<size_t> chosen = sizes(o, all.records());
  const TemporaryFolder folder;
  ordered_json rows = ordered_json::array(), peer_text;
  double cached = 0;
  for (const size_t records : chosen) {
    const Subject subject = prepare_subject(o, all, records, folder.path());
    std::string why_not;
    const std::unique_ptr<Peer> peer = start_peer(o.peer, subject.list, why_not);
    if (rows.empty()) {
      peer_text = peer ? ordered_json{{"name", peer->name()}} : ordered_json{{"missing", why_not}};
      print_head(all, all_threads, peer ? "peer " + peer->name() : "no peer: " + why_not);
    }
    if (peer && peer->crc() != subject.crc)
      throw Error(
          fmt::format("{} reads other samples than Systole: invalid samples and other sampling rates, which "
                      "Systole replaces, cannot be compared",
                      peer->name()));
    drop_from_page_cache(subject.from_pack.root);
    cached = std::max(cached, cached_part(subject.from_pack.root));
    std::vector<Way> ways = ways_of(subject, all_threads, peer.get());
    take_samples(ways, o.samples, subject);
    for (const Way& way : ways) {
      rows.push_back(row_of(way, ways, subject));
      print(rows.back());
    }
  }
  if (cached > 0.01)
    fmt::print(
        "note: {:.0f} % of the pack stayed in memory when it was dropped from the cache: what is called cold is "
        "not (TMPDIR chooses another disk)\n",
        100 * cached);
  const ordered_json exponents = chosen.size() > 1 ? exponents_of(rows) : ordered_json::object();
  if (o.json.empty()) return;
  const ordered_json report{{"benchmark", "data"},
                            {"date", benchmarks::now()},
                            {"commit", o.commit},
                            {"device_text", benchmarks::processor()},
                            {"threads", all_threads},
                            {"data_set", all.name},
                            {"sampling_rate_hz", all.sampling_rate_hz},
                            {"leads", all.lead_count()},
                            {"length", all.length},
                            {"peer", peer_text},
                            {"same_samples", true},
                            {"cached_when_cold", cached},
                            {"rows", rows},
                            {"exponents", exponents}};
  write_file_atomically(o.json, report.dump(1) + "\n");
}

}  // namespace

void add_bench_data(CLI::App& bench) {
  auto options = std::make_shared<DataBenchOptions>();
  DataBenchOptions& o = *options;
  CLI::App& command = *bench.add_subcommand(
      "data", "Reading records: WFDB files, the packed store with and without the page cache, wfdb-python");
  o.data.labels = "none";
  command.add_option("--data-root", o.data.root, "Folder of a data set in PTB-XL's layout, or of WFDB records")
      ->required();
  command.add_option("--sampling-rate", o.data.sampling_rate_hz, "In Hz, that of the records")->capture_default_str();
  command.add_option("--records", o.records, "How many, with commas between several numbers; all without it")
      ->delimiter(',');
  command.add_option("--samples", o.samples, "Samples of each time; their median counts")->capture_default_str();
  command.add_option("--peer", o.peer, "A Python with wfdb; auto: python3 if it has it; none")->capture_default_str();
  command.add_option("--json", o.json, "Also write the results to this file");
  command.add_option("--commit", o.commit, "What to name as the measured version")->capture_default_str();
  add_threads_option(command, o.common);
  command.callback([options] { bench_data(*options); });
}

}  // namespace systole::tools
