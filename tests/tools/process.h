// A run in the background, which a test may end at any moment, and what runs leave behind.
#pragma once

#include <cerrno>
#include <chrono>
#include <csignal>
#include <functional>
#include <nlohmann/json.hpp>
#include <spawn.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>

#include "tests/support.h"
#include "tests/tools/run.h"

namespace systole::test {

class Process {
 public:
  /// `before`: shell commands that come first, as "ulimit -f 8;".
  explicit Process(const std::string& arguments, const std::string& before = "") {
    write_file(folder_ / "output", "");  // there even where the shell is killed before it starts
    std::string shell = "/bin/sh", option = "-c";
    std::string command = fmt::format("{} exec {} {} >{} 2>&1 </dev/null", before, SYSTOLE_BINARY, arguments,
                                      (folder_ / "output").string());
    char* words[] = {shell.data(), option.data(), command.data(), nullptr};
    posix_spawnattr_t group_of_its_own;
    posix_spawnattr_init(&group_of_its_own);
    posix_spawnattr_setflags(&group_of_its_own, POSIX_SPAWN_SETPGROUP);
    REQUIRE(posix_spawn(&id_, words[0], nullptr, &group_of_its_own, words, environ) == 0);
    posix_spawnattr_destroy(&group_of_its_own);
  }
  ~Process() {
    if (id_ > 0) end(SIGKILL);
  }
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  pid_t id() const { return id_; }
  void send(int signal) const { ::kill(id_, signal); }
  /// To the process and those that it has started, as Ctrl-C in a terminal.
  void send_to_all(int signal) const { ::kill(-id_, signal); }
  /// Its exit code, or 128 and the number of the signal that ended it.
  Outcome wait() {
    int status = 0;
    while (waitpid(id_, &status, 0) < 0 && errno == EINTR) {
    }
    id_ = -1;
    return {WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status), read_file(folder_ / "output")};
  }
  Outcome end(int signal) {
    send(signal);
    return wait();
  }
  /// Waits for a condition, or for its end.
  void run_until(const std::function<bool()>& condition) const {
    siginfo_t ended{};
    while (!condition()) {
      if (waitid(P_PID, static_cast<id_t>(id_), &ended, WEXITED | WNOHANG | WNOWAIT) == 0 && ended.si_pid != 0) return;
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  }

 private:
  TemporaryFolder folder_;
  pid_t id_ = -1;
};

inline int64_t lines_in(const std::filesystem::path& file) {
  std::ifstream stream(file, std::ios::binary);
  int64_t lines = 0;
  for (std::string line; std::getline(stream, line);) ++lines;
  return lines;
}

/// What a run has made: the bytes of its model, and its metrics without what the clock says.
struct Made {
  std::string model;
  std::vector<std::string> metrics;
  bool operator==(const Made&) const = default;
};
inline Made made_at(const std::filesystem::path& out) {
  Made made{read_file(out), {}};
  std::ifstream file(out.parent_path() / (out.stem().string() + ".metrics.jsonl"));
  for (std::string line; std::getline(file, line);) {
    nlohmann::ordered_json parsed = nlohmann::ordered_json::parse(line);
    parsed.erase("seconds");
    parsed.erase("ecg_per_second");
    made.metrics.push_back(parsed.dump());
  }
  return made;
}

}  // namespace systole::test
