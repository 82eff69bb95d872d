#include "tools/interruption.h"

#include <atomic>
#include <cerrno>
#include <csignal>
#include <string_view>
#include <unistd.h>

namespace systole::tools {
namespace {

std::atomic<int> received = 0;  // atomic, since other threads than the one that the signal stops ask for it
static_assert(std::atomic<int>::is_always_lock_free);  // else a signal handler may not touch it

void note(int signal) {
  received = signal;
  const int error = errno;  // the code that the signal stopped may be about to read it
  constexpr std::string_view kWord = "\nsystole: stopping in order; a second signal stops at once\n";
  [[maybe_unused]] const ssize_t count = ::write(STDERR_FILENO, kWord.data(), kWord.size());  // safe in a handler
  std::signal(SIGINT, SIG_DFL);  // a second signal of either kind ends the process
  std::signal(SIGTERM, SIG_DFL);
  errno = error;
}

}  // namespace

SignalWatch::SignalWatch() {
  received = 0;
  for (const int signal : {SIGINT, SIGTERM})
    if (std::signal(signal, note) == SIG_IGN) std::signal(signal, SIG_IGN);  // as nohup and shell scripts ask
}

SignalWatch::~SignalWatch() {
  for (const int signal : {SIGINT, SIGTERM})
    if (std::signal(signal, SIG_DFL) == SIG_IGN) std::signal(signal, SIG_IGN);
}

int SignalWatch::signal() {
  return received;
}

}  // namespace systole::tools
