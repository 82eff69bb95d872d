// The record of a run: what is needed to repeat it, and to tell whether another run is the same. encoder.run.json
// beside encoder.pt:
//
//   command, folder             the words of the command line, and where it was given
//   program                     version, commit and build
//   device, precision, convolution, threads, host, seed
//   settings                    what the bits of the result depend on: options, and a checksum of the records
//   started, finished, seconds, skipped_steps
//   results                     the checksums of the model and of the metrics, without what the clock says
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>

#include "data/dataset.h"
#include "tools/command.h"

namespace systole::tools {

/// The record of a run that begins. `more`: settings beside the options of the command line, by name.
nlohmann::ordered_json begin_record(const CLI::App& command, const CommonOptions& common, Device device,
                                    const data::Dataset& dataset, const nlohmann::ordered_json& more);

/// In what the settings of two runs differ first, "--lr is 0.001 there and 0.002 here", or nothing. Numbers are
/// compared as such.
std::string difference(const nlohmann::ordered_json& there, const nlohmann::ordered_json& here);

/// By file name, the checksums of a result and of its metrics; null for a file that cannot be read.
nlohmann::ordered_json results_of(const std::filesystem::path& out);

/// Throws Error for a file that is no record.
nlohmann::ordered_json read_record(const std::filesystem::path& path);

/// CRC-32 of the bytes of a file or text, "89abcdef".
std::string file_checksum(const std::filesystem::path& path);
std::string text_checksum(const std::string& text);

/// The time in UTC, "2026-11-25T16:15:00Z".
std::string time_text();

/// A finished run, or one that was stopped.
struct FoundRun {
  std::filesystem::path out;      // the result
  nlohmann::ordered_json record;  // without "results" where the run is not complete
};
/// The run whose result or record is at `path`, or the only one in that folder; that of a label curve is found by its
/// folder too. Throws Error when there is none, or several, which it names.
FoundRun find_run(const std::filesystem::path& path);

/// What systole info --run prints.
std::string run_text(const FoundRun& run);

}  // namespace systole::tools
