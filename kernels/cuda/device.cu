// The GPU, its one stream, its memory, and how failures are worded.

#include <nvtx3/nvToolsExt.h>
#include <string>

#include "kernels/common/launch.h"
#include "kernels/cuda/device.h"

namespace systole::kernels::cuda {
namespace {

std::string words_of(cudaError_t status) {
  return std::string(cudaGetErrorName(status)) + ", " + cudaGetErrorString(status);
}

std::string text(const Extent& e) {
  return std::to_string(e.x) + " x " + std::to_string(e.y) + " x " + std::to_string(e.z);
}

std::string launch_text(const void* kernel, const Launch& launch) {
  const char* name = "?";
  cudaFuncGetName(&name, kernel);
  return std::string("cuda: the launch of ") + name + " at " + launch.file + ":" + std::to_string(launch.line) +
         " as " + text(launch.grid) + " blocks of " + text(launch.block) + " threads with " +
         std::to_string(launch.shared_bytes) + " bytes of shared memory";
}

}  // namespace

void check(cudaError_t status, const char* what, const char* file, int line) {
  if (status == cudaSuccess) return;
  throw LaunchError("cuda: " + std::string(what) + " failed at " + file + ":" + std::to_string(line) + ": " +
                    words_of(status) + " (CUDA_LAUNCH_BLOCKING=1 names the kernel)");
}

cudaStream_t stream_of(const Queue&) {
  static const cudaStream_t stream = [] {
    cudaStream_t created = nullptr;
    check(cudaStreamCreateWithFlags(&created, cudaStreamNonBlocking), "creating a stream");
    return created;
  }();
  return stream;
}

void allow_shared_memory(const void* kernel, const Launch& launch) {
  constexpr size_t kAlways = 48 << 10;
  if (launch.shared_bytes <= kAlways) return;
  const cudaError_t status =
      cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(launch.shared_bytes));
  if (status != cudaSuccess) throw LaunchError(launch_text(kernel, launch) + " failed: " + words_of(status));
}

void check_launch(const void* kernel, const Launch& launch) {
  const cudaError_t status = cudaGetLastError();
  if (status != cudaSuccess) throw LaunchError(launch_text(kernel, launch) + " failed: " + words_of(status));
}

const DeviceStatus& device_status() {
  static const DeviceStatus status = [] {
    int count = 0;
    const cudaError_t found = cudaGetDeviceCount(&count);
    if (found != cudaSuccess) return DeviceStatus{false, "no GPU can be used: " + words_of(found)};
    if (count == 0) return DeviceStatus{false, "no GPU was found"};
    cudaDeviceProp p{};
    if (const cudaError_t read = cudaGetDeviceProperties(&p, 0); read != cudaSuccess)
      return DeviceStatus{false, "the GPU cannot be read: " + words_of(read)};
    const std::string name = std::string(p.name) + ", compute capability " + std::to_string(p.major) + "." +
                             std::to_string(p.minor) + ", " + std::to_string(p.totalGlobalMem >> 30) + " GiB";
    if (p.major < 8) return DeviceStatus{false, name + ": capability 8.0 or higher is needed"};
    const bool built = compiled_architectures().find("sm_90a") != std::string::npos;
    return DeviceStatus{true, name, built && p.major == 9 && p.minor == 0};
  }();
  return status;
}

std::string compiled_architectures() {
  return SYSTOLE_CUDA_ARCHITECTURES;
}

bool has_wgmma() {
  return device_status().wgmma;
}

void synchronize(const Queue& queue) {
  check(cudaStreamSynchronize(stream_of(queue)), "waiting for the stream");
}

std::shared_ptr<std::byte> allocate(size_t bytes) {
  void* memory = nullptr;
  const cudaError_t status = cudaMalloc(&memory, bytes > 0 ? bytes : 1);
  if (status == cudaErrorMemoryAllocation) {
    cudaGetLastError();
    throw Error("out of GPU memory: " + std::to_string(bytes) +
                " bytes could not be allocated; a smaller --batch-size, --width or --signal-length needs less");
  }
  check(status, "cudaMalloc");
  return {static_cast<std::byte*>(memory), [](std::byte* p) { cudaFree(p); }};
}

std::shared_ptr<const std::byte> readable_on_host(const void* begin, size_t bytes) {
  auto* const memory = const_cast<void*>(begin);
  if (const cudaError_t status = cudaHostRegister(memory, bytes, cudaHostRegisterMapped); status != cudaSuccess)
    throw Error(std::to_string(bytes) +
                " bytes of the host's memory could not be pinned for the GPU: " + words_of(status));
  void* seen = nullptr;
  check(cudaHostGetDevicePointer(&seen, memory, 0), "asking where the GPU sees the host's memory");
  return {static_cast<const std::byte*>(seen), [memory](const std::byte*) { cudaHostUnregister(memory); }};
}

namespace {

struct MemoryState {
  size_t free = 0, total = 0;
};
MemoryState memory_state() {
  MemoryState state;
  check(cudaDeviceSynchronize(), "waiting for the GPU");
  check(cudaMemGetInfo(&state.free, &state.total), "reading the free memory");
  return state;
}

}  // namespace

size_t memory_in_use() {
  const MemoryState state = memory_state();
  return state.total - state.free;
}

size_t available_memory() {
  return memory_state().free;
}

size_t l2_cache_bytes() {
  int device = 0, bytes = 0;
  check(cudaGetDevice(&device), "finding the GPU");
  check(cudaDeviceGetAttribute(&bytes, cudaDevAttrL2CacheSize, device), "reading the size of the L2 cache");
  return static_cast<size_t>(bytes);
}

void copy_to_device(const Queue& queue, void* to, const void* from, size_t bytes) {
  cudaStreamCaptureStatus status;
  check(cudaStreamIsCapturing(stream_of(queue), &status), "asking whether a graph is captured");
  if (status != cudaStreamCaptureStatusNone)  // a replay would read `from`, which may be gone by then
    throw LaunchError("a copy from the host cannot be part of a captured step");
  // From pageable memory the call returns when `from` has been read.
  check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyHostToDevice, stream_of(queue)), "a copy to the device");
}

void copy_to_host(const Queue& queue, void* to, const void* from, size_t bytes) {
  check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToHost, stream_of(queue)), "a copy to the host");
  synchronize(queue);
}

void copy_on_device(const Queue& queue, void* to, const void* from, size_t bytes) {
  check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, stream_of(queue)), "a copy on the device");
}

void fill_zero(const Queue& queue, void* to, size_t bytes) {
  check(cudaMemsetAsync(to, 0, bytes, stream_of(queue)), "setting memory to zero");
}

void begin_range(const char* name) {
  nvtxRangePushA(name);
}

void end_range() {
  nvtxRangePop();
}

Timer::Timer() {
  check(cudaEventCreate(reinterpret_cast<cudaEvent_t*>(&start_)), "creating an event");
  check(cudaEventCreate(reinterpret_cast<cudaEvent_t*>(&stop_)), "creating an event");
}
Timer::~Timer() {
  cudaEventDestroy(static_cast<cudaEvent_t>(start_));
  cudaEventDestroy(static_cast<cudaEvent_t>(stop_));
}
void Timer::start(const Queue& queue) {
  check(cudaEventRecord(static_cast<cudaEvent_t>(start_), stream_of(queue)), "recording an event");
}
float Timer::stop(const Queue& queue) {
  check(cudaEventRecord(static_cast<cudaEvent_t>(stop_), stream_of(queue)), "recording an event");
  check(cudaEventSynchronize(static_cast<cudaEvent_t>(stop_)), "waiting for an event");
  float milliseconds = 0;
  check(cudaEventElapsedTime(&milliseconds, static_cast<cudaEvent_t>(start_), static_cast<cudaEvent_t>(stop_)),
        "reading an event");
  return milliseconds;
}

}  // namespace systole::kernels::cuda
