#include "tools/progress.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <fmt/format.h>
#include <unistd.h>

namespace systole::tools {
namespace {

constexpr double kSecondsBetweenFrames = 0.1;  // on a terminal
constexpr double kSecondsBetweenLines = 10;    // elsewhere
constexpr int kBarWidth = 24;

}  // namespace

std::string clock_text(double seconds) {
  const auto s = static_cast<int64_t>(std::llround(std::max(seconds, 0.0)));
  return s >= 3600 ? fmt::format("{}:{:02}:{:02}", s / 3600, s / 60 % 60, s % 60)
                   : fmt::format("{}:{:02}", s / 60, s % 60);
}

Progress::Progress(std::string what, int64_t total, std::string unit, int64_t before)
    : what_(std::move(what)),
      unit_(std::move(unit)),
      total_(std::max<int64_t>(total, 1)),
      before_(before),
      terminal_(isatty(STDERR_FILENO) == 1),
      start_(Clock::now()),
      last_(start_) {}

Progress::~Progress() {
  finish();
}

double Progress::seconds() const {
  return std::chrono::duration<double>(Clock::now() - start_).count();
}

std::string Progress::line(int64_t done, const std::string& note) const {
  const double elapsed = seconds();
  const double rate = elapsed > 0 ? static_cast<double>(done - before_) / elapsed : 0;
  const std::string left = rate > 0 ? clock_text(static_cast<double>(total_ - done) / rate) : "-";
  return fmt::format("{}/{} {} {:.0f}/s left {}{}{}", done, total_, unit_, rate, left, note.empty() ? "" : "  ", note);
}

void Progress::update(int64_t done, const std::string& note) {
  const Clock::time_point now = Clock::now();
  const double since = std::chrono::duration<double>(now - last_).count();
  const bool last = done >= total_;
  if (terminal_) {
    if (since < kSecondsBetweenFrames && !last && drawn_) return;
    const int filled = static_cast<int>(kBarWidth * done / total_);
    fmt::print(stderr, "\r\033[K{} [{:=<{}}{: <{}}] {}", what_, "", filled, "", kBarWidth - filled, line(done, note));
    std::fflush(stderr);
    drawn_ = true;
  } else {
    if (since < kSecondsBetweenLines) return;
    fmt::print(stderr, "{} {}\n", what_, line(done, note));
  }
  last_ = now;
}

void Progress::finish() {
  if (finished_) return;
  finished_ = true;
  if (terminal_ && drawn_) fmt::print(stderr, "\n");
}

}  // namespace systole::tools
