// Progress of a long job on standard error: a bar with rate and time left on a terminal, a plain line now and then
// elsewhere.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace systole::tools {

class Progress {
 public:
  /// `unit` is what is counted, for example "ECG"; `before` were done by an earlier process.
  Progress(std::string what, int64_t total, std::string unit, int64_t before = 0);
  /// The line is ended by finish() or by the destructor.
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  /// `note` stands at the end of the bar, for example the loss.
  void update(int64_t done, const std::string& note = "");
  void finish();
  double seconds() const;

 private:
  using Clock = std::chrono::steady_clock;
  std::string line(int64_t done, const std::string& note) const;

  std::string what_, unit_;
  int64_t total_, before_;
  bool terminal_, finished_ = false, drawn_ = false;
  Clock::time_point start_, last_;
};

/// 75 → "1:15", 3725 → "1:02:05".
std::string clock_text(double seconds);

}  // namespace systole::tools
