#include "engine/reconstruction.h"

#include <map>
#include <memory>
#include <vector>

#include "engine/operation_checks.h"
#include "kernels/batch_norm/batch_norm.h"
#include "kernels/common/dry_run.h"
#include "kernels/conv1d/conv1d.h"
#include "kernels/elementwise/elementwise.h"
#include "kernels/pool/pool.h"
#include "kernels/reconstruction/reconstruction.h"

namespace systole {
namespace {

using namespace kernels;

/// The convolution that is transposed: from the longer series to the shorter one.
Conv1dShape transposed_shape(const Tensor& x, const Tensor& w, const Conv1dOptions& o) {
  require(x.shape().rank() == 3, "conv_transpose1d", "an input [N, L, C]", x);
  require(w.shape().rank() == 3 && w.dim(2) == x.dim(2), "conv_transpose1d",
          fmt::format("a weight [K, C_out, {}]", x.dim(2)), w);
  const auto K = static_cast<int>(w.dim(0)), L = static_cast<int>(x.dim(1));
  const Conv1dShape shape{static_cast<int>(x.dim(0)),
                          (L - 1) * o.stride - 2 * o.padding + o.dilation * (K - 1) + 1,
                          static_cast<int>(w.dim(1)),
                          static_cast<int>(w.dim(2)),
                          K,
                          o.stride,
                          o.padding,
                          o.dilation};
  check(shape);
  return shape;
}

/// Ones [C] in the device's memory, made once: a captured step cannot copy them from the host.
const float* ones_on(Device device, int C) {
  thread_local std::map<std::pair<Device, int>, std::shared_ptr<std::byte>> known;
  std::shared_ptr<std::byte>& memory = known[{device, C}];
  if (!memory && !DryRun::is_active()) {
    const std::vector<float> ones(static_cast<size_t>(C), 1.0f);
    memory = allocate_memory(device, ones.size() * sizeof(float));
    Queue queue(device);
    copy_to_device(queue, memory.get(), ones.data(), ones.size() * sizeof(float));
  }
  return reinterpret_cast<const float*>(memory.get());
}

/// to (+)= Σ over records and time of dy [N, L, C].
void sum_over_rows(const Tensor& dy, GradientTarget to) {
  const auto N = static_cast<int>(dy.dim(0)), L = static_cast<int>(dy.dim(1)), C = static_cast<int>(dy.dim(2));
  Queue queue(dy.device());
  const Tensor of_records = Tensor::empty({N, C}, dy.device()), of_all = Tensor::empty({1, C}, dy.device());
  pool_kernels(dy.device()).mean_forward(queue, {N, L, C}, dy.series(), {}, of_records.data());
  pool_kernels(dy.device()).mean_forward(queue, {1, N, C}, of_records.data(), {}, of_all.data());
  elementwise_kernels(dy.device()).scale(queue, C, static_cast<float>(int64_t{N} * L), of_all.data(), to.data, to.mode);
}

}  // namespace

Tensor conv_transpose1d(const Tensor& x, const Tensor& w, const Tensor& bias, const Conv1dOptions& options) {
  const Conv1dShape shape = transposed_shape(x, w, options);
  check_bias("conv_transpose1d", w, bias, shape.C_in);
  const Device device = x.device();
  Queue queue = queue_of("conv_transpose1d", {&x, &w, &bias});
  Tensor y = Tensor::empty({shape.N, shape.L, shape.C_in}, device, x.dtype());
  conv1d_kernels(device).input_gradient(queue, shape, x.series(), {}, w.data(), y.series(), GradientMode::overwrite,
                                        {});
  batch_norm_kernels(device).apply(queue, {1, shape.N, shape.L, shape.C_in}, y.series(), ones_on(device, shape.C_in),
                                   bias.data(), false, y.series());
  return record("conv_transpose1d", y, {&x, &w, &bias}, [shape, x, w](const Tensor& dy, InputGradients& gradients) {
    Queue backward_queue(dy.device());
    const Conv1dKernels& conv = conv1d_kernels(dy.device());
    const GradientTarget dx = gradients.target(0), dw = gradients.target(1), dbias = gradients.target(2);
    if (dw) conv.weight_gradient(backward_queue, shape, dy.series(), {}, x.series(), {}, dw.data, nullptr, dw.mode);
    if (dbias) sum_over_rows(dy, dbias);
    if (!dx) return;
    const bool adds = dx.mode == GradientMode::accumulate;  // forward has no such mode
    const Tensor own = adds ? Tensor::empty(x.shape(), x.device(), x.dtype()) : Tensor();
    const Series to = adds ? own.series() : dx.data;
    conv.forward(backward_queue, shape, dy.series(), {}, w.data(), nullptr, to, {});
    if (adds) elementwise_kernels(dy.device()).scale(backward_queue, x.count(), 1, to, dx.data, dx.mode);
  });
}

Tensor mask_blocks(const Tensor& x, int block, float p, uint64_t seed, StepNumber step) {
  require(x.shape().rank() == 3, "mask_blocks", "an input [N, L, C]", x);
  if (x.node()) throw Error("mask_blocks: no gradient flows through it; expected signals");
  if (block < 1 || !(p >= 0 && p <= 1))
    throw Error(fmt::format(
        "mask_blocks: expected blocks of at least one sample and a probability in [0, 1], not {} and {}", block, p));
  const BlockMaskShape shape{
      static_cast<int>(x.dim(0)), static_cast<int>(x.dim(1)), static_cast<int>(x.dim(2)), block, p, seed, step};
  Tensor y = Tensor::empty(x.shape(), x.device(), x.dtype());
  Queue queue(x.device());
  reconstruction_kernels(x.device()).mask_blocks(queue, shape, x.series(), y.series());
  return y;
}

Tensor mean_squared_error(const Tensor& x, const Tensor& target) {
  require(x.shape() == target.shape(), "mean_squared_error", "a target of the shape " + x.shape().text(), target);
  Queue queue = queue_of("mean_squared_error", {&x, &target});
  Tensor loss = Tensor::empty({1}, x.device());
  reconstruction_kernels(x.device()).squared_error_forward(queue, x.count(), x.series(), target.series(), loss.data());
  return record("mean_squared_error", loss, {&x}, [x, target](const Tensor& dloss, InputGradients& gradients) {
    Queue backward_queue(dloss.device());
    const GradientTarget dx = gradients.target(0);
    reconstruction_kernels(dloss.device())
        .squared_error_backward(backward_queue, x.count(), x.series(), target.series(), dloss.data(), dx.data, dx.mode);
  });
}

}  // namespace systole
