#include "tools/worker_process.h"

#include <csignal>
#include <cstring>
#include <fmt/format.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include <utility>

#include "kernels/common/error.h"

namespace systole::tools {

WorkerProcess::WorkerProcess(std::string name, std::vector<std::string> command) : name_(std::move(name)) {
  int ends[2];  // a socket and no pipe: to write to a pipe whose reader has ended would end us
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
    throw Error(fmt::format("{} cannot be started: {}", name_, std::strerror(errno)));
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, ends[1], STDIN_FILENO);
  posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
  std::vector<char*> arguments;
  for (std::string& argument : command) arguments.push_back(argument.data());
  arguments.push_back(nullptr);
  const int error = posix_spawnp(&process_, arguments[0], &actions, nullptr, arguments.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  close(ends[1]);
  socket_ = ends[0];
  if (error != 0) {
    close(socket_);
    throw Error(fmt::format("{} cannot be started: {}: {}", name_, command[0], std::strerror(error)));
  }
}

WorkerProcess::~WorkerProcess() {
  close(socket_);
  if (process_ < 0) return;
  kill(process_, SIGKILL);
  waitpid(process_, nullptr, 0);
}

std::string WorkerProcess::line() {
  while (true) {
    if (const size_t end = received_.find('\n'); end != std::string::npos) {
      const std::string line = received_.substr(0, end);
      received_.erase(0, end + 1);
      return line;
    }
    char buffer[4096];
    const ssize_t count = read(socket_, buffer, sizeof buffer);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) fail();
    received_.append(buffer, static_cast<size_t>(count));
  }
}

void WorkerProcess::send(const std::string& line) {
  const std::string text = line + "\n";
  if (::send(socket_, text.data(), text.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(text.size())) fail();
}

void WorkerProcess::fail() {
  int status = 0;
  waitpid(process_, &status, 0);
  process_ = -1;
  throw Error(WIFSIGNALED(status)
                  ? fmt::format("{} was ended by signal {} ({})", name_, WTERMSIG(status), strsignal(WTERMSIG(status)))
                  : fmt::format("{} ended with exit code {}", name_, WEXITSTATUS(status)));
}

}  // namespace systole::tools
