// How a block runs. One fiber runs the threads in their order, each on the same stack, as long as none has to wait: a
// kernel without barriers costs a function call per thread. A thread that waits keeps its fiber, and another fiber
// goes on with the threads that have not started. When all that a rendezvous needs have arrived, they are ready.
//
//   unstarted ──► running ──► exited
//                  │   ▲
//      at_barrier, │   │ ready
//      in_warp     ▼   │
//               waiting
//
// A failure is noted, and the worker abandons the block: the stacks of its fibers are made anew for the next one.

#include "kernels/simt/block.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <fmt/format.h>
#include <sys/mman.h>
#if defined(__SSE__)
#include <immintrin.h>
#endif

#include "kernels/common/error.h"
#include "kernels/simt/options.h"
#include "kernels/simt/sanitizers.h"

namespace systole::simt {

constinit thread_local Thread* current_thread = nullptr;
char Block::launch_token;

namespace {

namespace context = boost::context::detail;

constexpr size_t kPage = 4096;
constexpr size_t kStackBytes = kAddressChecker ? 512 << 10 : 128 << 10;
constexpr size_t kSentinelBytes = 64;
constexpr unsigned char kPoison = 0xff;    // of floats: NaN
constexpr unsigned char kSentinel = 0xa5;  // behind shared memory

std::byte* map_stack() {
  void* memory = mmap(nullptr, kStackBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) throw Error("out of memory: no stack for a thread of the simt device");
  mprotect(memory, kPage, PROT_NONE);
  return static_cast<std::byte*>(memory);
}

Index index_in(unsigned number, const Index& extent) {
  return {number % extent.x, number / extent.x % extent.y, number / (extent.x * extent.y)};
}

std::string text(const Index& i) {
  return fmt::format("({}, {}, {})", i.x, i.y, i.z);
}

std::string text(const Where& where) {
  const std::string file = where.file_name();
  const size_t room = file.find("kernels/");
  return fmt::format("{}:{}", room == std::string::npos ? file : file.substr(room), where.line());
}

unsigned bit(unsigned lane) {
  return 1u << lane;
}

}  // namespace

void Block::FreeDeleter::operator()(std::byte* p) const {
  std::free(p);
}

Block::~Block() {
  for (const auto& fiber : fibers_) munmap(fiber->stack, kStackBytes);
}

// ---- one block

std::string Block::run(const Grid& grid, Index index) {
  prepare(grid, index);
  worker_.race_fiber = current_race_fiber();
  current_ = &worker_;
  jump_to(next_fiber());
  current_thread = nullptr;
  if (failure_.empty() && exited_ < size_) failure_ = stuck();
  if (failure_.empty()) failure_ = check_shared_end();
  if (!failure_.empty()) reset_fibers();
  acquire(&done_token_);
  return failure_;
}

void Block::prepare(const Grid& grid, Index index) {
  grid_ = &grid;
  index_ = index;
  failure_.clear();
  const unsigned size = grid.block.x * grid.block.y * grid.block.z;
  const Options& o = options();
  if (size != size_) {
    size_ = size;
    threads_.resize(std::max<size_t>(threads_.size(), size));
    warps_.resize((size + 31) / 32);
    start_order_.resize(size);
  }
  for (unsigned i = 0; i < size; ++i) {
    Thread& t = threads_[i];
    t.index = index_in(i, grid.block);
    t.number = i;
    t.block = this;
    t.state = Thread::State::unstarted;
    t.fiber = nullptr;
    t.copies.clear();
    t.committed = 0;
    start_order_[i] = o.order == Order::reverse ? size - 1 - i : i;
  }
  for (unsigned w = 0; w < warps_.size(); ++w) {
    const unsigned lanes = std::min(32u, size - w * 32);
    warps_[w].existing = lanes == 32 ? ~0u : bit(lanes) - 1;
    warps_[w].exited = 0;
    warps_[w].groups.clear();
  }
  random_ = o.seed * 0x9E3779B97F4A7C15u + index.x * 0xD1B54A32D192ED03u + index.y * 77u + index.z + 1;
  if (o.order == Order::shuffled) start_order_ = shuffled(start_order_);
  started_ = 0;
  exited_ = at_barrier_ = 0;
  ready_.clear();
  prepare_shared(grid.shared_bytes);
}

void Block::prepare_shared(size_t bytes) {
  if (!shared_ || bytes != shared_bytes_) {
    // With AddressSanitizer the block of memory ends where shared memory ends.
    const size_t whole = kAddressChecker ? std::max<size_t>(bytes, 1) : bytes + kSentinelBytes;
    void* memory = nullptr;
    if (posix_memalign(&memory, 128, whole) != 0) throw Error("out of memory: no shared memory for the simt device");
    shared_.reset(static_cast<std::byte*>(memory));
    shared_bytes_ = bytes;
    if (!kAddressChecker) std::memset(shared_.get() + bytes, kSentinel, kSentinelBytes);
  }
  std::memset(shared_.get(), kPoison, bytes);
}

std::string Block::check_shared_end() const {
  if (kAddressChecker) return {};
  for (size_t i = 0; i < kSentinelBytes; ++i)
    if (shared_.get()[shared_bytes_ + i] != std::byte{kSentinel}) {
      std::memset(shared_.get() + shared_bytes_, kSentinel, kSentinelBytes);
      return fmt::format(
          "simt: the kernel launched at {}:{}, block {}: wrote byte {} of its {} bytes of shared memory", grid_->file,
          grid_->line, text(index_), shared_bytes_ + i, shared_bytes_);
    }
  return {};
}

/// Fisher–Yates with a xorshift generator.
std::vector<unsigned> Block::shuffled(std::vector<unsigned> numbers) {
  for (size_t i = numbers.size(); i > 1; --i) {
    random_ ^= random_ << 13, random_ ^= random_ >> 7, random_ ^= random_ << 17;
    std::swap(numbers[i - 1], numbers[random_ % i]);
  }
  return numbers;
}

/// Threads that may go on, in the order that the options ask for; they come in ascending order.
void Block::make_ready(std::vector<Thread*> threads) {
  if (options().order == Order::reverse) std::reverse(threads.begin(), threads.end());
  if (options().order == Order::shuffled) {
    std::vector<unsigned> places(threads.size());
    for (unsigned i = 0; i < places.size(); ++i) places[i] = i;
    const std::vector<Thread*> before = threads;
    size_t to = 0;
    for (unsigned from : shuffled(places)) threads[to++] = before[from];
  }
  for (Thread* t : threads) {
    t->state = Thread::State::ready;
    ready_.push_back(t);
  }
}

// ---- fibers

void Block::fiber_main(context::transfer_t from) {
  Fiber* const last = static_cast<Fiber*>(from.data);
  Block* const block = last->block;
  block->arrived(from);
#if defined(__SSE__)
  _mm_setcsr(0x1f80);  // denormals count, as on the GPU; a context keeps its own mode
#endif
  for (;;) {
    while (block->started_ < block->size_) {
      block->run_thread(block->threads_[block->start_order_[block->started_++]]);
      if (kRaceDetector) break;  // to which every thread has a stack of its own
    }
    block->current_->thread = nullptr;
    if (!kRaceDetector) block->idle_.push_back(block->current_);
    block->jump_to(block->next_fiber());
  }
}

void Block::run_thread(Thread& thread) {
  thread.fiber = current_;
  thread.state = Thread::State::running;
  current_->thread = &thread;
  current_thread = &thread;
  acquire(&launch_token);
  try {
    grid_->call(grid_->closure);
  } catch (const std::exception& error) {
    fail(error.what(), nullptr);
  }
  exit_thread(thread);
  release(&done_token_);
}

void Block::exit_thread(Thread& thread) {
  if (!thread.copies.empty())
    fail(fmt::format("ended without waiting for its asynchronous copy of {}", text(thread.copies.front().where)),
         nullptr);
  thread.state = Thread::State::exited;
  ++exited_;
  if (at_barrier_ > 0)
    fail(fmt::format("returned while thread {} waits at the barrier of {}", text(first_at_barrier_->index),
                     text(first_at_barrier_->where)),
         nullptr);
  Warp& warp = warps_[thread.warp()];
  warp.exited |= bit(thread.lane());
  for (const Group& group : warp.groups)
    if (group.mask & bit(thread.lane()))
      fail(fmt::format("returned while other lanes wait for it at {}", text(group.where)), nullptr);
}

/// The fiber of a ready thread, or one to start further threads on.
Fiber* Block::next_fiber() {
  if (!ready_.empty()) {
    Thread* thread = ready_.front();
    ready_.pop_front();
    thread->state = Thread::State::running;
    return thread->fiber;
  }
  if (started_ == size_) return nullptr;
  if (kRaceDetector) {  // fiber i belongs to thread i, so that the detector knows each by one name
    const size_t number = start_order_[started_];
    while (fibers_.size() <= number) {
      fibers_.push_back(std::make_unique<Fiber>());
      fibers_.back()->race_fiber = race_fiber();
    }
    Fiber* fiber = fibers_[number].get();
    if (!fiber->stack) fiber->stack = map_stack();
    return fiber;
  }
  if (idle_.empty()) {
    fibers_.push_back(std::make_unique<Fiber>());
    fibers_.back()->stack = map_stack();
    idle_.push_back(fibers_.back().get());
  }
  Fiber* fiber = idle_.back();
  idle_.pop_back();
  return fiber;
}

void Block::jump_to(Fiber* next) {
  Fiber* const self = current_;
  if (!next) next = &worker_;
  if (next == self) {  // a thread that released itself
    current_thread = self->thread;
    return;
  }
  if (!next->context && next != &worker_)
    next->context = context::make_fcontext(next->stack + kStackBytes, kStackBytes - kPage, &fiber_main);
  self->block = this;
  current_ = next;
  current_thread = next->thread;
  leave_stack(&self->saved_stack, next->stack, next == &worker_ ? worker_stack_bytes_ : kStackBytes);
  switch_race_fiber(next->race_fiber);
  arrived(context::jump_fcontext(next->context, self));
}

/// What a fiber does first when it is jumped to: it keeps where the other one stands.
void Block::arrived(context::transfer_t from) {
  auto* const last = static_cast<Fiber*>(from.data);
  last->context = from.fctx;
  const void* bottom = nullptr;
  size_t bytes = 0;
  enter_stack(current_->saved_stack, &bottom, &bytes);
  if (last != &worker_) return;
  worker_.stack = static_cast<std::byte*>(const_cast<void*>(bottom));
  worker_stack_bytes_ = bytes;
}

void Block::suspend() {
  jump_to(next_fiber());
}

void Block::fail(const std::string& message, const Where* where) {
  const Thread& t = *current_thread;
  failure_ = fmt::format("simt: the kernel launched at {}:{}, block {}, thread {}{}: {}", grid_->file, grid_->line,
                         text(index_), text(t.index), where ? ", " + text(*where) : "", message);
  jump_to(nullptr);
  std::abort();  // nobody goes on with this fiber
}

/// After a failure the fibers stand in the middle of kernels that nobody will finish.
void Block::reset_fibers() {
  idle_.clear();
  for (const auto& fiber : fibers_) {
    fiber->context = nullptr;
    fiber->thread = nullptr;
    if (fiber->stack) forget_poison(fiber->stack + kPage, kStackBytes - kPage);
    if (!kRaceDetector) idle_.push_back(fiber.get());
  }
  size_ = 0;
}

// ---- rendezvous

void Block::barrier(const Where& where) {
  Thread& self = *current_thread;
  if (exited_ > 0) {
    const auto gone = std::find_if(threads_.begin(), threads_.begin() + size_,
                                   [](const Thread& t) { return t.state == Thread::State::exited; });
    fail(fmt::format("a barrier, but thread {} has returned", text(gone->index)), &where);
  }
  if (at_barrier_ == 0)
    first_at_barrier_ = &self;
  else if (first_at_barrier_->where.line() != where.line() ||
           std::strcmp(first_at_barrier_->where.file_name(), where.file_name()) != 0)
    fail(fmt::format("a divergent barrier: thread {} waits at {}", text(first_at_barrier_->index),
                     text(first_at_barrier_->where)),
         &where);
  char* const token = &barrier_token_[self.barrier_phase++ & 1];
  release(token);
  self.where = where;
  self.state = Thread::State::at_barrier;
  if (++at_barrier_ == size_) {
    at_barrier_ = 0;
    std::vector<Thread*> all(size_);
    for (unsigned i = 0; i < size_; ++i) all[i] = &threads_[i];
    make_ready(std::move(all));
  }
  suspend();
  acquire(token);
}

void Block::warp_rendezvous(unsigned mask, Exchange exchange, bool orders_memory, const Where& where) {
  Thread& self = *current_thread;
  Warp& warp = warps_[self.warp()];
  const unsigned first_thread = self.warp() * 32, own = bit(self.lane());
  if (!(mask & own)) fail(fmt::format("the mask {:#010x} lacks the calling lane {}", mask, self.lane()), &where);
  if (mask & ~warp.existing)
    fail(fmt::format("the mask {:#010x} names lane {}, which the block does not have", mask,
                     __builtin_ctz(mask & ~warp.existing)),
         &where);
  if (mask & warp.exited)
    fail(fmt::format("the mask {:#010x} names lane {}, which has returned", mask, __builtin_ctz(mask & warp.exited)),
         &where);

  size_t g = 0;
  for (; g < warp.groups.size(); ++g) {
    const Group& group = warp.groups[g];
    if (!(group.mask & mask)) continue;
    if (group.mask != mask)
      fail(fmt::format("the masks {:#010x} here and {:#010x} at {} overlap", mask, group.mask, text(group.where)),
           &where);
    if (group.exchange != exchange || group.where.line() != where.line())
      fail(fmt::format("other lanes of the warp wait at {}", text(group.where)), &where);
    break;
  }
  if (g == warp.groups.size()) warp.groups.push_back({mask, 0, exchange, where});
  warp.groups[g].arrived |= own;

  char* const token = orders_memory ? &warp.token[self.warp_phase++ & 1] : nullptr;
  if (token) release(token);
  self.where = where;
  if (warp.groups[g].arrived == mask) {
    complete(warp, g, first_thread);
  } else {
    self.state = Thread::State::in_warp;
    suspend();
  }
  if (token) acquire(token);
}

/// The last lane makes the exchange, releases the others, and goes on itself.
void Block::complete(Warp& warp, size_t group, unsigned first_thread) {
  const Group g = warp.groups[group];
  warp.groups.erase(warp.groups.begin() + static_cast<std::ptrdiff_t>(group));
  if (g.exchange) {
    Thread* lanes[32] = {};
    for (unsigned k = 0; k < 32; ++k)
      if (g.mask & bit(k)) lanes[k] = &threads_[first_thread + k];
    g.exchange(lanes, g.mask);
  }
  std::vector<Thread*> others;
  for (unsigned k = 0; k < 32; ++k)
    if ((g.mask & bit(k)) && &threads_[first_thread + k] != current_thread) others.push_back(&threads_[first_thread + k]);
  make_ready(std::move(others));
}

/// Nobody can go on: who waits where.
std::string Block::stuck() const {
  std::string sentence =
      fmt::format("simt: the kernel launched at {}:{}, block {}: deadlock", grid_->file, grid_->line, text(index_));
  int named = 0;
  const Where* last = nullptr;
  for (unsigned i = 0; i < size_ && named < 8; ++i) {
    const Thread& t = threads_[i];
    if (t.state != Thread::State::at_barrier && t.state != Thread::State::in_warp) continue;
    if (last && last->line() == t.where.line()) continue;
    last = &t.where;
    sentence += fmt::format("{} thread {} waits {} {}", named++ ? "," : ":", text(t.index),
                            t.state == Thread::State::at_barrier ? "at the barrier of" : "for its warp at",
                            text(t.where));
  }
  return sentence;
}

// ---- what kernels call

void barrier(const Where& where) {
  current_thread->block->barrier(where);
}
void warp_rendezvous(unsigned mask, Exchange exchange, bool orders_memory, const Where& where) {
  current_thread->block->warp_rendezvous(mask, exchange, orders_memory, where);
}
void fail(const std::string& message, const Where& where) {
  current_thread->block->fail(message, &where);
}
Index block_index() {
  return current_thread->block->index();
}
Index block_extent() {
  return current_thread->block->grid().block;
}
Index grid_extent() {
  return current_thread->block->grid().grid;
}
void* shared_memory() {
  return current_thread->block->shared();
}

}  // namespace systole::simt
