// A program that is started to answer questions: a line goes in, a line comes out. Whatever is measured of it is its
// own, its memory and its threads.
#pragma once

#include <string>
#include <sys/types.h>
#include <vector>

namespace systole::tools {

class WorkerProcess {
 public:
  /// Starts command[0], looked for on the PATH; standard error stays ours. Throws Error when it cannot be started, here
  /// and below with `name` in the sentence.
  WorkerProcess(std::string name, std::vector<std::string> command);
  /// Ends the program if it still runs.
  ~WorkerProcess();
  WorkerProcess(const WorkerProcess&) = delete;
  WorkerProcess& operator=(const WorkerProcess&) = delete;

  /// The next line that it prints. Throws Error that says how it ended when there is none.
  std::string line();
  void send(const std::string& line);

 private:
  [[noreturn]] void fail();

  std::string name_;
  pid_t process_ = -1;
  int socket_ = -1;  // its standard input and output
  std::string received_;
};

}  // namespace systole::tools
