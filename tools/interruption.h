// Ctrl-C (SIGINT) and SIGTERM: the run ends where it can go on later. A second signal ends the process at once.
#pragma once

#include <stdexcept>
#include <string>

namespace systole::tools {

/// The run has stopped since a signal asked for it.
class Interrupted : public std::runtime_error {
 public:
  Interrupted(int signal, const std::string& sentence) : std::runtime_error(sentence), signal_(signal) {}
  /// Of the program: 128 and the signal's number, as shells have it: 130 or 143.
  int exit_code() const { return 128 + signal_; }

 private:
  int signal_;
};

/// While it lives, the first of these signals is noted, and waits to be asked for.
class SignalWatch {
 public:
  SignalWatch();
  ~SignalWatch();
  SignalWatch(const SignalWatch&) = delete;
  SignalWatch& operator=(const SignalWatch&) = delete;

  /// The signal that came, or 0.
  static int signal();
};

}  // namespace systole::tools
