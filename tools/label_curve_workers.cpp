#include "tools/label_curve_workers.h"

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <exception>
#include <fcntl.h>
#include <fmt/format.h>
#include <iostream>
#include <mutex>
#include <nlohmann/json.hpp>
#include <optional>
#include <sys/prctl.h>
#include <thread>
#include <unistd.h>

#include "engine/checkpoint/atomic_file.h"
#include "kernels/common/parallel.h"
#include "tools/interruption.h"
#include "tools/label_curve_run.h"
#include "tools/progress.h"
#include "tools/worker_process.h"

namespace systole::tools {
namespace {

/// This program with the same options, as a worker.
std::vector<std::string> worker_command(int threads) {
  std::vector<std::string> command = command_line();
  command.at(0) = "/proc/self/exe";
  command.insert(command.end(), {"--worker-threads", std::to_string(threads)});
  return command;
}

/// How many ECGs a run takes through the encoder, forwards and backwards: what its time goes into. Validation is about
/// a third of that; a head on features that are there already is nothing beside it.
int64_t work_of(const LabelCurve& curve, const LabelCurveRun& run) {
  if (curve.arms[run.arm].kind == Arm::Kind::frozen) return 1;
  const double labelled = curve.options.fractions[run.fraction] * static_cast<double>(curve.training.size());
  const double per_epoch = labelled + static_cast<double>(curve.validation.size()) / 3;
  return 1 + static_cast<int64_t>(per_epoch * curve.epochs(curve.arms[run.arm].kind, run.fraction));
}

/// The runs that are still to make, taken by several threads.
class RunQueue {
 public:
  RunQueue(const LabelCurve& curve, const std::vector<LabelCurveRun>& runs)
      : curve_(curve), runs_(runs), progress_("label-curve", total_work(curve, runs), "ECGs") {}

  std::optional<LabelCurveRun> next() {
    const std::lock_guard lock(mutex_);
    if (failure_ || SignalWatch::signal() != 0 || next_ == runs_.size()) return {};
    return runs_[next_++];
  }
  void finished(const LabelCurveRun& run) {
    const std::lock_guard lock(mutex_);
    done_work_ += work_of(curve_, run);
    progress_.update(done_work_, fmt::format("{} of {} runs", ++done_, runs_.size()));
  }
  void failed(std::exception_ptr failure) {
    const std::lock_guard lock(mutex_);
    if (!failure_) failure_ = std::move(failure);
  }
  void finish() {
    progress_.finish();
    if (failure_) std::rethrow_exception(failure_);
    if (const int signal = SignalWatch::signal(); signal != 0 && done_ < runs_.size())
      throw Interrupted(signal, fmt::format("stopped with {} of {} runs made, which stay: the same command goes on",
                                            done_, runs_.size()));
  }

 private:
  static int64_t total_work(const LabelCurve& curve, const std::vector<LabelCurveRun>& runs) {
    int64_t work = 0;
    for (const LabelCurveRun& run : runs) work += work_of(curve, run);
    return work;
  }

  const LabelCurve& curve_;
  const std::vector<LabelCurveRun>& runs_;
  std::mutex mutex_;
  size_t next_ = 0, done_ = 0;
  int64_t done_work_ = 0;
  std::exception_ptr failure_;
  Progress progress_;
};

/// Throws the sentence that a worker answered with, if it did.
void require_success(const std::string& answer) {
  const auto json = nlohmann::json::parse(answer);
  if (json.contains("error")) throw Error(json["error"].get<std::string>());
}

void serve(RunQueue& queue, const std::vector<std::string>& command) {
  // Ctrl-C in a terminal, or what ends a job, reaches all processes, and the command's main thread decides: this thread
  // blocks both signals, and its worker inherits that.
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  try {
    WorkerProcess worker("a worker of label-curve", command);
    require_success(worker.line());
    while (const auto run = queue.next()) {
      worker.send(nlohmann::json{{"arm", run->arm}, {"fraction", run->fraction}, {"seed", run->seed}}.dump());
      require_success(worker.line());
      queue.finished(*run);
    }
  } catch (...) {
    queue.failed(std::current_exception());
  }
}

/// Standard error leads nowhere while it lives: every worker would tell what the command has told already.
class Silence {
 public:
  Silence() : saved_(dup(STDERR_FILENO)) {
    const int nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);
    dup2(nowhere, STDERR_FILENO);
    close(nowhere);
  }
  ~Silence() {
    std::fflush(stderr);
    dup2(saved_, STDERR_FILENO);
    close(saved_);
  }
  Silence(const Silence&) = delete;
  Silence& operator=(const Silence&) = delete;

 private:
  int saved_;
};

/// Answers whether `action` succeeded, or with its sentence.
template <class Action>
void answer(const Action& action) {
  nlohmann::json line = nlohmann::json::object();
  try {
    action();
  } catch (const std::exception& error) {
    line["error"] = error.what();
  }
  std::cout << line.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) << std::endl;
}

}  // namespace

void make_runs(const LabelCurve& curve, const std::vector<LabelCurveRun>& runs) {
  if (runs.empty()) return;
  const int wanted = curve.options.jobs > 0 ? curve.options.jobs : curve.device == Device::cuda ? 1 : threads();
  const int jobs = std::min(wanted, static_cast<int>(runs.size()));
  const std::vector<std::string> command = worker_command(std::max(1, threads() / jobs));
  const SignalWatch watch;  // after a signal no run is begun; those at work are finished
  RunQueue queue(curve, runs);
  std::vector<std::thread> servers;
  for (int job = 0; job < jobs; ++job) servers.emplace_back(serve, std::ref(queue), std::cref(command));
  for (std::thread& server : servers) server.join();
  queue.finish();
}

void work_on_label_curve(const LabelCurveOptions& options) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);  // no worker outlives the command
  std::optional<LabelCurve> curve;
  std::optional<LabelCurveRunner> runner;
  answer([&] {
    const Silence silence;
    curve.emplace(prepare_label_curve(options));
    runner.emplace(*curve);
  });
  for (std::string line; runner && std::getline(std::cin, line);) {
    const auto asked = nlohmann::json::parse(line);
    const LabelCurveRun run{asked["arm"], asked["fraction"], asked["seed"]};
    answer([&] {
      try {
        write_file_atomically(curve->file(run), runner->run(run).dump() + "\n");
      } catch (const std::exception& error) {
        throw Error(fmt::format("run {}: {}", curve->file(run).stem().string(), error.what()));
      }
    });
  }
}

}  // namespace systole::tools
