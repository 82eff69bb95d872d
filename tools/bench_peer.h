// A Python with PyTorch, which systole bench compares with: it runs a script of benchmarks/peers as a process that
// answers questions in turn with ours.
#pragma once

#include <chrono>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "tools/command.h"

namespace systole::tools {

/// Sets, once threads are set, what OpenMP and BLAS libraries of the processes that are started read when they are
/// loaded. Threads that wait must soon leave the cores to the next process, and yet be there for the next loop of their
/// own.
void prepare_environment_of_workers();
/// Before a turn: threads that wait for work have stopped spinning by then.
inline constexpr std::chrono::milliseconds kPauseOfTurn{5};

struct Peer {
  std::string python;
  std::string name;  // "PyTorch 1.13.0"
  double product_flop_per_second;
};

/// `python` is a program, or "auto" for python3 if it can, or "none". Says in `why_not` why there is no peer. Throws
/// UsageError when a program that was named cannot be one.
std::optional<Peer> find_peer(const std::string& python, const CommonOptions& common, std::string& why_not);

/// Says which PyTorch it is and how fast it multiplies, with a note where that is far below `ceiling` (FLOP/s; 0:
/// none); or why there is none.
void print_peer(const std::optional<Peer>& peer, const std::string& why_not, Device device, double ceiling);

/// A script of benchmarks/peers, of these sources or of the folder that SYSTOLE_SOURCE_DIR names.
std::filesystem::path peer_script(const std::string& name);
/// --device, --precision and --threads. simt is a CPU, whose PyTorch then confirms values in float32.
std::vector<std::string> peer_device_arguments(const CommonOptions& common);

/// The words of a before those of b.
std::vector<std::string> joined(std::vector<std::string> a, const std::vector<std::string>& b);

}  // namespace systole::tools
