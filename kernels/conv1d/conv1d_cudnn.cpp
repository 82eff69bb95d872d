// Convolution on the cuda device by cuDNN. A record is an image of height 1: tensors NHWC [N, 1, L, C], which is how
// ours lie in memory; filters KRSC [C_out, 1, K, C_in], the transpose of our [K·C_in, C_out]. What cuDNN does not do is
// done by library_parts.cu, bias.cu and batch_norm.cu in passes of their own.
//
// Algorithms: the first of cuDNN's list, which it orders by its estimate of their time, that is deterministic by its
// own account. Precision is a math type: f32 allows fused multiply-adds alone, tf32 the tensor cores. There is none
// that rounds f32 data to bf16, so bf16 computes in tf32 here, the nearest that is not less exact.
//
// These functions are cuDNN's older interface for convolutions, which version 9 keeps; its graph interface needs ten
// times the code to describe the same three operations.

#include <array>
#include <cudnn.h>
#include <map>
#include <optional>
#include <string>
#include <tuple>

#include "kernels/batch_norm/batch_norm.h"
#include "kernels/common/memory.h"
#include "kernels/conv1d/implementation.h"
#include "kernels/conv1d/library_parts.h"
#include "kernels/cuda/stream.h"
#include "kernels/linear/bias.h"

namespace systole::kernels::cuda {
namespace {

constexpr size_t kLargestWorkspace = size_t{1} << 30;  // bytes; an algorithm that asks for more is passed over
constexpr float kZero = 0, kOne = 1;

void check(cudnnStatus_t status, const char* what, const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
  if (status == CUDNN_STATUS_SUCCESS) return;
  throw LaunchError("cuda: " + std::string(what) + " failed at " + file + ":" + std::to_string(line) + ": " +
                    cudnnGetErrorString(status));
}

cudnnHandle_t handle_of(const Queue& queue) {
  static const cudnnHandle_t handle = [&] {  // never destroyed: at exit the driver may be gone already
    cudnnHandle_t created = nullptr;
    check(cudnnCreate(&created), "cudnnCreate");
    check(cudnnSetStream(created, stream_of(queue)), "cudnnSetStream");
    return created;
  }();
  return handle;
}

template <class Algorithm>
struct Choice {
  Algorithm algorithm;
  size_t workspace_bytes;
};

/// `list` is one of cudnnGetConvolution…Algorithm_v7, `size` the function of that pass that gives the workspace of an
/// algorithm.
template <class Candidate, class List, class Size>
auto first_deterministic(const List& list, const Size& size, const char* pass) {
  std::array<Candidate, 16> candidates;
  int count = 0;
  check(list(static_cast<int>(candidates.size()), &count, candidates.data()), "cuDNN's list of algorithms");
  for (int i = 0; i < count; ++i) {
    const Candidate& c = candidates[static_cast<size_t>(i)];
    if (c.status != CUDNN_STATUS_SUCCESS || c.determinism != CUDNN_DETERMINISTIC) continue;
    size_t bytes = 0;
    if (size(c.algo, &bytes) == CUDNN_STATUS_SUCCESS && bytes <= kLargestWorkspace) return Choice{c.algo, bytes};
  }
  throw LaunchError("cuda: cuDNN has no deterministic algorithm for the " + std::string(pass) +
                    " of this convolution; --conv systole computes it");
}

/// Descriptors of a shape, and for each pass, when it is first asked for, an algorithm.
class CudnnConvolution {
 public:
  CudnnConvolution(cudnnHandle_t handle, const Conv1dShape& s, Precision precision) : handle_(handle) {
    check(cudnnCreateTensorDescriptor(&x_), "a descriptor");
    check(cudnnCreateTensorDescriptor(&y_), "a descriptor");
    check(cudnnCreateFilterDescriptor(&w_), "a descriptor");
    check(cudnnCreateConvolutionDescriptor(&convolution_), "a descriptor");
    check(cudnnSetTensor4dDescriptor(x_, CUDNN_TENSOR_NHWC, CUDNN_DATA_FLOAT, s.N, s.C_in, 1, s.L), "the input");
    check(cudnnSetTensor4dDescriptor(y_, CUDNN_TENSOR_NHWC, CUDNN_DATA_FLOAT, s.N, s.C_out, 1, s.L_out()),
          "the output");
    check(cudnnSetFilter4dDescriptor(w_, CUDNN_DATA_FLOAT, CUDNN_TENSOR_NHWC, s.C_out, s.C_in, 1, s.K), "the weights");
    check(cudnnSetConvolution2dDescriptor(convolution_, 0, s.padding, 1, s.stride, 1, s.dilation,
                                          CUDNN_CROSS_CORRELATION, CUDNN_DATA_FLOAT),
          "the convolution");
    check(cudnnSetConvolutionMathType(convolution_, precision == Precision::f32 ? CUDNN_FMA_MATH : CUDNN_DEFAULT_MATH),
          "the math type");
  }

  const auto& forward() {
    if (!forward_)
      forward_ = first_deterministic<cudnnConvolutionFwdAlgoPerf_t>(
          [&](int most, int* count, auto* to) {
            return cudnnGetConvolutionForwardAlgorithm_v7(handle_, x_, w_, convolution_, y_, most, count, to);
          },
          [&](auto algorithm, size_t* bytes) {
            return cudnnGetConvolutionForwardWorkspaceSize(handle_, x_, w_, convolution_, y_, algorithm, bytes);
          },
          "forward pass");
    return *forward_;
  }
  const auto& input_gradient() {
    if (!input_gradient_)
      input_gradient_ = first_deterministic<cudnnConvolutionBwdDataAlgoPerf_t>(
          [&](int most, int* count, auto* to) {
            return cudnnGetConvolutionBackwardDataAlgorithm_v7(handle_, w_, y_, convolution_, x_, most, count, to);
          },
          [&](auto algorithm, size_t* bytes) {
            return cudnnGetConvolutionBackwardDataWorkspaceSize(handle_, w_, y_, convolution_, x_, algorithm, bytes);
          },
          "input gradient");
    return *input_gradient_;
  }
  const auto& weight_gradient() {
    if (!weight_gradient_)
      weight_gradient_ = first_deterministic<cudnnConvolutionBwdFilterAlgoPerf_t>(
          [&](int most, int* count, auto* to) {
            return cudnnGetConvolutionBackwardFilterAlgorithm_v7(handle_, x_, y_, convolution_, w_, most, count, to);
          },
          [&](auto algorithm, size_t* bytes) {
            return cudnnGetConvolutionBackwardFilterWorkspaceSize(handle_, x_, y_, convolution_, w_, algorithm, bytes);
          },
          "weight gradient");
    return *weight_gradient_;
  }

  void run_forward(const float* z, const float* w, void* workspace, float* y) {
    const auto& [algorithm, bytes] = forward();
    check(
        cudnnConvolutionForward(handle_, &kOne, x_, z, w_, w, convolution_, algorithm, workspace, bytes, &kZero, y_, y),
        "cudnnConvolutionForward");
  }
  void run_input_gradient(const float* dy, const float* w, void* workspace, float* dz, GradientMode mode) {
    const auto& [algorithm, bytes] = input_gradient();
    check(cudnnConvolutionBackwardData(handle_, &kOne, w_, w, y_, dy, convolution_, algorithm, workspace, bytes,
                                       mode == GradientMode::accumulate ? &kOne : &kZero, x_, dz),
          "cudnnConvolutionBackwardData");
  }
  void run_weight_gradient(const float* z, const float* dy, void* workspace, float* dw) {
    const auto& [algorithm, bytes] = weight_gradient();
    check(cudnnConvolutionBackwardFilter(handle_, &kOne, x_, z, y_, dy, convolution_, algorithm, workspace, bytes,
                                         &kZero, w_, dw),
          "cudnnConvolutionBackwardFilter");
  }

 private:
  cudnnHandle_t handle_;
  cudnnTensorDescriptor_t x_, y_;
  cudnnFilterDescriptor_t w_;
  cudnnConvolutionDescriptor_t convolution_;
  std::optional<Choice<cudnnConvolutionFwdAlgo_t>> forward_;
  std::optional<Choice<cudnnConvolutionBwdDataAlgo_t>> input_gradient_;
  std::optional<Choice<cudnnConvolutionBwdFilterAlgo_t>> weight_gradient_;
};

/// Kept for the life of the process: to ask cuDNN anew for every call takes longer than a small convolution.
CudnnConvolution& convolution_of(const Queue& queue, const Conv1dShape& s) {
  using Key = std::tuple<int, int, int, int, int, int, int, int, Precision>;
  static auto* const known = new std::map<Key, CudnnConvolution>;
  const Key key{s.N, s.L, s.C_in, s.C_out, s.K, s.stride, s.padding, s.dilation, queue.precision()};
  const auto found = known->find(key);
  if (found != known->end()) return found->second;
  return known->try_emplace(key, handle_of(queue), s, queue.precision()).first->second;
}

/// The working memory of a call, cut up; an empty part costs nothing.
struct Parts {
  float *workspace, *weights, *z, *dy, *sums;

  Parts(Queue& queue, size_t workspace_bytes, const Conv1dShape& s, const PendingAffine& pending,
        const PendingGradient& pending_dy, size_t sum_count = 0) {
    const size_t sizes[] = {rounded(workspace_bytes / sizeof(float) + 1), rounded(s.weight_size()),
                            pending.scale ? rounded(s.input_size()) : 0,
                            pending_dy.offset ? rounded(s.output_size()) : 0, sum_count};
    workspace = scratch<float>(queue, sizes[0] + sizes[1] + sizes[2] + sizes[3] + sizes[4]);
    weights = workspace + sizes[0];
    z = weights + sizes[1];
    dy = z + sizes[2];
    sums = dy + sizes[3];
  }

 private:
  template <class Count>
  static size_t rounded(Count count) {
    return (static_cast<size_t>(count) + 63) / 64 * 64;  // every part is 256-byte aligned
  }
};

/// What the convolution multiplies: x, or x with its pending normalisation in `memory`.
const float* multiplied(Queue& queue, const Conv1dShape& s, const float* x, const PendingAffine& pending,
                        float* memory) {
  if (!pending.scale) return x;
  library_parts.apply_pending(queue, s.N, s.L, s.C_in, x, pending, memory);
  return memory;
}

/// The gradient of y: dy, or what a pending gradient makes of it in `memory`.
const float* output_gradient(Queue& queue, const Conv1dShape& s, const float* dy, const PendingGradient& pending,
                             float* memory) {
  if (!pending.offset) return dy;
  batch_norm.backward_apply(queue, {pending.output.groups, s.N, s.L_out(), s.C_out}, dy, pending, memory);
  return memory;
}

void forward(Queue& queue, const Conv1dShape& s, ConstSeries x, const PendingAffine& pending, const float* w,
             const float* bias_values, Series y, const RecordMoments& moments) {
  CudnnConvolution& convolution = convolution_of(queue, s);
  const Parts parts(queue, convolution.forward().workspace_bytes, s, pending, {});
  library_parts.transpose(queue, s.K * s.C_in, s.C_out, w, parts.weights, GradientMode::overwrite);
  convolution.run_forward(multiplied(queue, s, x, pending, parts.z), parts.weights, parts.workspace, y);
  if (bias_values) bias.add(queue, int64_t{s.N} * s.L_out(), s.C_out, bias_values, y);
  if (moments.mean) library_parts.record_moments(queue, s.N, s.L_out(), s.C_out, y, moments);
}

void input_gradient(Queue& queue, const Conv1dShape& s, ConstSeries dy, const PendingGradient& pending, const float* w,
                    Series dz, GradientMode mode, const RecordGradientSums& sums) {
  CudnnConvolution& convolution = convolution_of(queue, s);
  const Parts parts(queue, convolution.input_gradient().workspace_bytes, s, {}, pending);
  library_parts.transpose(queue, s.K * s.C_in, s.C_out, w, parts.weights, GradientMode::overwrite);
  convolution.run_input_gradient(output_gradient(queue, s, dy, pending, parts.dy), parts.weights, parts.workspace, dz,
                                 mode);
  // Its working memory may be ours again, which by then, in the order of the queue, nobody needs.
  if (sums.g) batch_norm.backward_sums(queue, {sums.output.groups, s.N, s.L, s.C_in}, dz, sums);
}

void weight_gradient(Queue& queue, const Conv1dShape& s, ConstSeries x, const PendingAffine& pending, ConstSeries dy,
                     const PendingGradient& pending_dy, float* dw, float* dbias, GradientMode mode) {
  CudnnConvolution& convolution = convolution_of(queue, s);
  const int64_t rows = int64_t{s.N} * s.L_out();
  const Parts parts(queue, convolution.weight_gradient().workspace_bytes, s, pending, pending_dy,
                    dbias ? column_sums_scratch(rows, s.C_out) : 0);
  const float* finished = output_gradient(queue, s, dy, pending_dy, parts.dy);
  convolution.run_weight_gradient(multiplied(queue, s, x, pending, parts.z), finished, parts.workspace, parts.weights);
  library_parts.transpose(queue, s.C_out, s.K * s.C_in, parts.weights, dw, mode);
  if (dbias) bias.column_sums(queue, rows, s.C_out, finished, parts.sums, dbias, mode);
}

}  // namespace

extern const Conv1dKernels conv1d_cudnn{
    .forward = forward, .input_gradient = input_gradient, .weight_gradient = weight_gradient};

}  // namespace systole::kernels::cuda
