// All blocks of a launch, on a pool of workers that lasts as long as the process. Block b is run by worker b mod W, the
// caller being worker 0: at least two workers, or the race detector could not see two blocks meet.

#include <algorithm>
#include <condition_variable>
#include <fmt/format.h>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "kernels/common/error.h"
#include "kernels/common/launch.h"
#include "kernels/common/parallel.h"
#include "kernels/simt/block.h"
#include "kernels/simt/options.h"

namespace systole::simt {

Options& options() {
  static Options chosen;
  return chosen;
}

namespace {

/// Threads that wait for work. run() gives every worker the same function and returns when all are done.
class WorkerPool {
 public:
  ~WorkerPool() {
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    start_.notify_all();
    for (std::thread& thread : threads_) thread.join();
  }

  void run(unsigned workers, const std::function<void(unsigned)>& work) {
    while (threads_.size() + 1 < workers)
      threads_.emplace_back(
          [this, number = static_cast<unsigned>(threads_.size()) + 1, last = job_] { serve(number, last); });
    {
      const std::lock_guard lock(mutex_);
      work_ = &work;
      workers_ = workers;
      busy_ = static_cast<unsigned>(threads_.size());
      ++job_;
    }
    start_.notify_all();
    work(0);
    std::unique_lock lock(mutex_);
    done_.wait(lock, [this] { return busy_ == 0; });
  }

 private:
  void serve(unsigned number, uint64_t last_job) {
    for (;;) {
      const std::function<void(unsigned)>* work = nullptr;
      unsigned workers = 0;
      {
        std::unique_lock lock(mutex_);
        start_.wait(lock, [&] { return stopping_ || job_ != last_job; });
        if (stopping_) return;
        last_job = job_;
        work = work_;
        workers = workers_;
      }
      if (number < workers) (*work)(number);
      {
        const std::lock_guard lock(mutex_);
        --busy_;
      }
      done_.notify_one();
    }
  }

  std::vector<std::thread> threads_;
  std::mutex mutex_;
  std::condition_variable start_, done_;
  const std::function<void(unsigned)>* work_ = nullptr;
  unsigned workers_ = 0, busy_ = 0;
  uint64_t job_ = 0;
  bool stopping_ = false;
};

Block& block_of_worker() {
  thread_local Block block;
  return block;
}

}  // namespace

void run_grid(const Grid& grid) {
  const uint64_t blocks = uint64_t{grid.grid.x} * grid.grid.y * grid.grid.z;
  const unsigned wanted =
      options().workers > 0 ? static_cast<unsigned>(options().workers) : std::max(2u, static_cast<unsigned>(threads()));
  const auto workers = static_cast<unsigned>(std::min<uint64_t>(wanted, blocks));
  std::vector<std::string> failures(workers);
  const auto work = [&](unsigned worker) {
    Block& block = block_of_worker();
    for (uint64_t b = worker; b < blocks && failures[worker].empty(); b += workers) {
      const uint64_t rest = b / grid.grid.x;
      failures[worker] =
          block.run(grid, {static_cast<unsigned>(b % grid.grid.x), static_cast<unsigned>(rest % grid.grid.y),
                           static_cast<unsigned>(rest / grid.grid.y)});
    }
  };
  if (workers == 1) {
    work(0);
  } else {
    static WorkerPool pool;
    pool.run(workers, work);
  }
  for (const std::string& failure : failures)
    if (!failure.empty()) throw LaunchError(failure);
}

}  // namespace systole::simt

namespace systole::kernels::simt {

::systole::simt::Grid checked_grid(const Launch& l) {
  constexpr size_t kSharedLimit = 227 << 10;  // compute capability 9.0; 8.0 has 163 KB
  const auto refuse = [&](const std::string& why) {
    throw LaunchError(fmt::format(
        "simt: the launch at {}:{} of a grid of {} x {} x {} blocks of {} x {} x {} threads with {} bytes of shared "
        "memory cannot be: {}",
        l.file, l.line, l.grid.x, l.grid.y, l.grid.z, l.block.x, l.block.y, l.block.z, l.shared_bytes, why));
  };
  if (l.grid.x < 1 || l.grid.y < 1 || l.grid.z < 1 || l.grid.x > 0x7fffffff || l.grid.y > 65535 || l.grid.z > 65535)
    refuse("a grid has 1 to 2147483647 blocks along x, and 1 to 65535 along y and z");
  if (l.block.x < 1 || l.block.y < 1 || l.block.z < 1 || l.block.x > 1024 || l.block.y > 1024 || l.block.z > 64 ||
      l.block.x * l.block.y * l.block.z > 1024)
    refuse("a block has 1 to 1024 threads, at most 64 along z");
  if (l.shared_bytes > kSharedLimit) refuse(fmt::format("a block has at most {} bytes of shared memory", kSharedLimit));
  const auto index = [](const Extent& e) {
    return ::systole::simt::Index{static_cast<unsigned>(e.x), static_cast<unsigned>(e.y), static_cast<unsigned>(e.z)};
  };
  return {index(l.grid), index(l.block), l.shared_bytes, nullptr, nullptr, l.file, l.line};
}

}  // namespace systole::kernels::simt
