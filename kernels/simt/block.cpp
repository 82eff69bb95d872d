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

namespace {

namespace context = boost::context::detail;

constexpr size_t kPage = 4096;
constexpr size_t kStackBytes = kAddressChecker ? 512 << 10 : 128 << 10;
constexpr size_t kSentinelBytes = 64;
constexpr std::byte kPoison{0xff};    // of floats: NaN
constexpr std::byte kSentinel{0xa5};  // behind shared memory

/// Unwinds the thread that failed down to where its fiber started it.
struct Failure {};

std::byte* map_stack() {
  void* memory = mmap(nullptr, kStackBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) throw Error("out of memory: no stack for a thread of the simt device");
  mprotect(memory, kPage, PROT_NONE);
  return static_cast<std::byte*>(memory);
}

/// A plain loop: ThreadSanitizer would take memset for a write of the worker that nothing orders.
void fill(std::byte* memory, size_t bytes, std::byte value) {
  for (size_t i = 0; i < bytes; ++i) memory[i] = value;
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
    ready_.resize(size);
    released_.resize(size);
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
    t.products.clear();
    t.committed_products = 0;
    t.barrier_phase = t.warp_phase = 0;
    start_order_[i] = o.order == Order::reverse ? size - 1 - i : i;
  }
  for (unsigned w = 0; w < warps_.size(); ++w) {
    const unsigned lanes = std::min(32u, size - w * 32);
    warps_[w].existing = lanes == 32 ? ~0u : bit(lanes) - 1;
    warps_[w].exited = 0;
    warps_[w].group_count = 0;
  }
  random_ = o.seed * 0x9E3779B97F4A7C15u + index.x * 0xD1B54A32D192ED03u + index.y * 77u + index.z + 1;
  if (o.order == Order::shuffled) shuffle(start_order_.data(), size);
  // To the race detector fiber i is thread i. The worker makes them: a fiber that a thread made would come after it.
  while (kRaceDetector && fibers_.size() < size) add_fiber();
  started_ = 0;
  exited_ = at_barrier_ = 0;
  ready_begin_ = ready_count_ = 0;
  prepare_shared(grid.shared_bytes);
  release(&start_token_);
}

void Block::prepare_shared(size_t bytes) {
  if (!shared_ || bytes != shared_bytes_) {
    // With AddressSanitizer the block of memory ends where shared memory ends.
    const size_t whole = kAddressChecker ? std::max<size_t>(bytes, 1) : bytes + kSentinelBytes;
    void* memory = nullptr;
    if (posix_memalign(&memory, 1024, whole) != 0) throw Error("out of memory: no shared memory for the simt device");
    shared_.reset(static_cast<std::byte*>(memory));
    shared_bytes_ = bytes;
    if (!kAddressChecker) fill(shared_.get() + bytes, kSentinelBytes, kSentinel);
  }
  fill(shared_.get(), bytes, kPoison);
}

std::string Block::check_shared_end() const {
  if (kAddressChecker) return {};
  for (size_t i = 0; i < kSentinelBytes; ++i)
    if (shared_.get()[shared_bytes_ + i] != kSentinel) {
      fill(shared_.get() + shared_bytes_, kSentinelBytes, kSentinel);
      return fmt::format("simt: the kernel launched at {}:{}, block {}: wrote byte {} of its {} bytes of shared memory",
                         grid_->file, grid_->line, text(index_), shared_bytes_ + i, shared_bytes_);
    }
  return {};
}

/// Fisher–Yates with a xorshift generator.
void Block::shuffle(unsigned* numbers, size_t count) {
  for (size_t i = count; i > 1; --i) {
    random_ ^= random_ << 13, random_ ^= random_ >> 7, random_ ^= random_ << 17;
    std::swap(numbers[i - 1], numbers[random_ % i]);
  }
}

/// The waiting ones of the threads first … first + count − 1, and of them those in the mask, may go on, in the order
/// that the options ask for.
void Block::make_ready(unsigned first, unsigned count, unsigned mask) {
  unsigned n = 0;
  for (unsigned i = 0; i < count; ++i) {
    const Thread::State state = threads_[first + i].state;
    const bool waits = state == Thread::State::at_barrier || state == Thread::State::in_warp;
    if (waits && (mask & bit(i % 32))) released_[n++] = first + i;
  }
  if (options().order == Order::reverse) std::reverse(released_.data(), released_.data() + n);
  if (options().order == Order::shuffled) shuffle(released_.data(), n);
  for (unsigned i = 0; i < n; ++i) {
    Thread& thread = threads_[released_[i]];
    thread.state = Thread::State::ready;
    ready_[(ready_begin_ + ready_count_++) % ready_.size()] = &thread;
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
  acquire(&start_token_);
  try {
    grid_->call(grid_->closure);
    exit_thread(thread);
  } catch (const Failure&) {
  }
  release(&done_token_);
  if (!failure_.empty()) jump_to(nullptr);
}

void Block::exit_thread(Thread& thread) {
  if (!thread.copies.empty())
    fail(fmt::format("ended without waiting for its asynchronous copy of {}", text(thread.copies.front().where)),
         nullptr);
  if (!thread.products.empty())
    fail(fmt::format("ended without waiting for its wgmma of {}", text(thread.products.front().where)), nullptr);
  thread.state = Thread::State::exited;
  ++exited_;
  if (at_barrier_ > 0)
    fail(fmt::format("returned while thread {} waits at the barrier of {}", text(first_at_barrier_->index),
                     text(first_at_barrier_->where)),
         nullptr);
  Warp& warp = warps_[thread.warp()];
  warp.exited |= bit(thread.lane());
  for (unsigned g = 0; g < warp.group_count; ++g)
    if (warp.groups[g].mask & bit(thread.lane()))
      fail(fmt::format("returned while other lanes wait for it at {}", text(warp.groups[g].where)), nullptr);
}

Fiber* Block::add_fiber() {
  fibers_.push_back(std::make_unique<Fiber>());
  Fiber* fiber = fibers_.back().get();
  fiber->stack = map_stack();
  fiber->race_fiber = race_fiber();
  return fiber;
}

/// The fiber of a ready thread, or one to start further threads on.
Fiber* Block::next_fiber() {
  if (ready_count_ > 0) {
    Thread* thread = ready_[ready_begin_];
    ready_begin_ = (ready_begin_ + 1) % ready_.size();
    --ready_count_;
    thread->state = Thread::State::running;
    return thread->fiber;
  }
  if (started_ == size_) return nullptr;
  if (kRaceDetector) return fibers_[start_order_[started_]].get();
  if (idle_.empty()) idle_.push_back(add_fiber());
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
  release(&done_token_);  // in case the block fails and this thread never goes on
  jump_to(next_fiber());
}

void Block::fail(const std::string& message, const Where* where) {
  const Thread& t = *current_thread;
  failure_ = fmt::format("simt: the kernel launched at {}:{}, block {}, thread {}{}: {}", grid_->file, grid_->line,
                         text(index_), text(t.index), where ? ", " + text(*where) : "", message);
  throw Failure();
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
    make_ready(0, size_, ~0u);
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

  unsigned g = 0;
  for (; g < warp.group_count; ++g) {
    const Group& group = warp.groups[g];
    if (!(group.mask & mask)) continue;
    if (group.mask != mask)
      fail(fmt::format("the masks {:#010x} here and {:#010x} at {} overlap", mask, group.mask, text(group.where)),
           &where);
    if (group.exchange != exchange || group.where.line() != where.line())
      fail(fmt::format("other lanes of the warp wait at {}", text(group.where)), &where);
    break;
  }
  if (g == warp.group_count) warp.groups[warp.group_count++] = {mask, 0, exchange, where};
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
void Block::complete(Warp& warp, unsigned group, unsigned first_thread) {
  const Group g = warp.groups[group];
  warp.groups[group] = warp.groups[--warp.group_count];
  if (g.exchange) {
    Thread* lanes[32] = {};
    for (unsigned k = 0; k < 32; ++k)
      if (g.mask & bit(k)) lanes[k] = &threads_[first_thread + k];
    g.exchange(lanes, g.mask);
  }
  make_ready(first_thread, std::min(32u, size_ - first_thread), g.mask);
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
    sentence +=
        fmt::format("{} thread {} waits {} {}", named++ ? "," : ":", text(t.index),
                    t.state == Thread::State::at_barrier ? "at the barrier of" : "for its warp at", text(t.where));
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
