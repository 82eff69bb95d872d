// Which table each family has on each device: the one place where a device is added.

#include "kernels/batch_norm/batch_norm.h"
#include "kernels/classification/classification.h"
#include "kernels/contrastive/contrastive.h"
#include "kernels/contrastive/feature_loss.h"
#include "kernels/contrastive/pair_loss.h"
#include "kernels/contrastive/sigmoid_loss.h"
#include "kernels/conv1d/conv1d.h"
#include "kernels/conv1d/implementation.h"
#include "kernels/conv1d/packed_weights.h"
#include "kernels/cuda/device.h"
#include "kernels/elementwise/elementwise.h"
#include "kernels/linear/linear.h"
#include "kernels/linear/linear_cublas.h"
#include "kernels/optimizer/optimizer.h"
#include "kernels/pool/pool.h"
#include "kernels/reconstruction/reconstruction.h"
#include "kernels/step_data/step_data.h"

namespace systole::kernels {

const BatchNormKernels& batch_norm_kernels(Device device) {
  return SYSTOLE_TABLE_OF(device, batch_norm);
}
const ClassificationKernels& classification_kernels(Device device) {
  return SYSTOLE_TABLE_OF(device, classification);
}
const ContrastiveKernels& contrastive_kernels(Device device) {
#if defined(SYSTOLE_CUDA)
  if (device == Device::cuda && cuda::has_wgmma()) return cuda::contrastive_wgmma;
#endif
  return SYSTOLE_TABLE_OF(device, contrastive);
}
const Conv1dKernels& conv1d_kernels(Device device) {
#if defined(SYSTOLE_CUDNN)
  if (device == Device::cuda && convolution() == Convolution::cudnn) return cuda::conv1d_cudnn;
#endif
#if defined(SYSTOLE_CUDA)
  if (device == Device::cuda && convolves_by_wgmma(device)) return cuda::conv1d_wgmma;
#endif
  if (convolves_by_wgmma(device)) return simt::conv1d_wgmma;
  return SYSTOLE_TABLE_OF(device, conv1d);
}
const WeightPacking& weight_packing_of([[maybe_unused]] Device device) {
#if defined(SYSTOLE_CUDA)
  if (device == Device::cuda) return cuda::weight_packing;
#endif
  return simt::weight_packing;
}
const ElementwiseKernels& elementwise_kernels(Device device) {
  return SYSTOLE_TABLE_OF(device, elementwise);
}
const FeatureLossKernels& feature_loss_kernels(Device device) {
  return SYSTOLE_TABLE_OF(device, feature_loss);
}
const LinearKernels& linear_kernels(Device device) {
#if defined(SYSTOLE_CUDA)
  if (device == Device::cuda) return cuda::linear_cublas;
#endif
  return SYSTOLE_TABLE_OF(device, linear);
}
const OptimizerKernels& optimizer_kernels(Device device) {
  return SYSTOLE_TABLE_OF(device, optimizer);
}
const PairLossKernels& pair_loss_kernels(Device device) {
  return SYSTOLE_TABLE_OF(device, pair_loss);
}
const PoolKernels& pool_kernels(Device device) {
  return SYSTOLE_TABLE_OF(device, pool);
}
const ReconstructionKernels& reconstruction_kernels(Device device) {
  return SYSTOLE_TABLE_OF(device, reconstruction);
}
const SigmoidLossKernels& sigmoid_loss_kernels(Device device) {
  return SYSTOLE_TABLE_OF(device, sigmoid_loss);
}
const StepDataKernels& step_data_kernels(Device device) {
  return SYSTOLE_TABLE_OF(device, step_data);
}

}  // namespace systole::kernels
