// Linear on the cuda device: cuBLAS for the products, small kernels of our own (bias.cu) for bias and its gradient.
//
// cuBLAS is column-major, and a row-major [r, c] matrix is a column-major [c, r] one. So the transposed product is
// asked for, with the factors in the other order, and nothing is copied:
//
//   y  = x · w     yᵀ  [D_out, M]     = wᵀ [D_out, D_in] · xᵀ [D_in, M]
//   dx = dy · wᵀ   dxᵀ [D_in, M]      = w  [D_in, D_out] · dyᵀ [D_out, M]
//   dw = xᵀ · dy   dwᵀ [D_out, D_in]  = dyᵀ [D_out, M]   · x [M, D_in]
//
// The workspace is ours. cuBLAS promises the same bits in every run (on the same GPU model, with the same version) as
// long as its stream has a workspace of its own, and a product that is captured into a CUDA graph would otherwise
// allocate memory inside of the graph (cuBLAS documentation, "Results reproducibility", "CUDA Graphs Support").

#include "kernels/linear/linear_cublas.h"

#include <cublas_v2.h>
#include <memory>
#include <string>

#include "kernels/common/memory.h"
#include "kernels/cuda/device.h"
#include "kernels/cuda/stream.h"
#include "kernels/linear/bias.h"

namespace systole::kernels::cuda {
namespace {

void check(cublasStatus_t status, const char* what, const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
  if (status == CUBLAS_STATUS_SUCCESS) return;
  throw LaunchError("cuda: " + std::string(what) + " failed at " + file + ":" + std::to_string(line) + ": " +
                    cublasGetStatusName(status) + ", " + cublasGetStatusString(status));
}

/// The process's handle on its one stream. The first product makes it, so that must not be a captured one.
class Cublas {
 public:
  explicit Cublas(const Queue& queue) : workspace_(allocate(kWorkspaceBytes)) {
    check(cublasCreate(&handle_), "cublasCreate");
    check(cublasSetStream(handle_, stream_of(queue)), "cublasSetStream");  // resets the workspace: first the stream
    check(cublasSetWorkspace(handle_, workspace_.get(), kWorkspaceBytes), "cublasSetWorkspace");
  }
  cublasHandle_t handle() const { return handle_; }

 private:
  static constexpr size_t kWorkspaceBytes = 32 << 20;  // what cuBLAS's documentation recommends for Hopper

  cublasHandle_t handle_ = nullptr;
  std::shared_ptr<std::byte> workspace_;
};

cublasHandle_t handle_of(const Queue& queue) {
  static const auto* const cublas = new Cublas(queue);  // never destroyed: at exit the driver may be gone already
  return cublas->handle();
}

cublasComputeType_t compute_type(Precision precision) {
  switch (precision) {
    case Precision::tf32:
      return CUBLAS_COMPUTE_32F_FAST_TF32;
    case Precision::bf16:
      return CUBLAS_COMPUTE_32F_FAST_16BF;
    case Precision::f32:
      break;
  }
  return CUBLAS_COMPUTE_32F;
}

/// A column-major factor: op(data) with the leading dimension of the data.
struct Factor {
  const float* data;
  int leading;
  cublasOperation_t operation = CUBLAS_OP_N;
};

/// c [rows, columns], column-major and dense, = a · b over `inner`; += in mode accumulate.
void product(const Queue& queue, int rows, int columns, int inner, const Factor& a, const Factor& b, float* c,
             GradientMode mode) {
  const float one = 1, before = mode == GradientMode::accumulate ? 1 : 0;
  check(cublasGemmEx(handle_of(queue), a.operation, b.operation, rows, columns, inner, &one, a.data, CUDA_R_32F,
                     a.leading, b.data, CUDA_R_32F, b.leading, &before, c, CUDA_R_32F, rows,
                     compute_type(queue.precision()), CUBLAS_GEMM_DEFAULT),
        "cublasGemmEx");
}

void forward(Queue& queue, const LinearShape& s, const float* x, const float* w, const float* bias_values, float* y) {
  product(queue, s.D_out, s.M, s.D_in, {w, s.D_out}, {x, s.D_in}, y, GradientMode::overwrite);
  if (bias_values) bias.add(queue, s.M, s.D_out, bias_values, y);
}

void input_gradient(Queue& queue, const LinearShape& s, const float* dy, const float* w, float* dx, GradientMode mode) {
  product(queue, s.D_in, s.M, s.D_out, {w, s.D_out, CUBLAS_OP_T}, {dy, s.D_out}, dx, mode);
}

void weight_gradient(Queue& queue, const LinearShape& s, const float* x, const float* dy, float* dw, float* dbias,
                     GradientMode mode) {
  product(queue, s.D_out, s.D_in, s.M, {dy, s.D_out}, {x, s.D_in, CUBLAS_OP_T}, dw, mode);
  if (!dbias) return;
  bias.column_sums(queue, s.M, s.D_out, dy, scratch<float>(queue, column_sums_scratch(s.M, s.D_out)), dbias, mode);
}

}  // namespace

extern const LinearKernels linear_cublas{
    .forward = forward, .input_gradient = input_gradient, .weight_gradient = weight_gradient};

}  // namespace systole::kernels::cuda
