// Which table each family has on each device: the one place where a device is added.

#include "kernels/batch_norm/batch_norm.h"
#include "kernels/classification/classification.h"
#include "kernels/contrastive/contrastive.h"
#include "kernels/conv1d/conv1d.h"
#include "kernels/elementwise/elementwise.h"
#include "kernels/linear/linear.h"
#include "kernels/optimizer/optimizer.h"
#include "kernels/pool/pool.h"

namespace systole::kernels {
namespace {

template <class Table>
const Table& select(Device device, const Table& cpu) {
  static const Table none{};  // every call of an entry says which kernel and device are missing
  return device == Device::cpu ? cpu : none;
}

}  // namespace

const BatchNormKernels& batch_norm_kernels(Device device) {
  return select(device, cpu::batch_norm);
}
const ClassificationKernels& classification_kernels(Device device) {
  return select(device, cpu::classification);
}
const ContrastiveKernels& contrastive_kernels(Device device) {
  return select(device, cpu::contrastive);
}
const Conv1dKernels& conv1d_kernels(Device device) {
  return select(device, cpu::conv1d);
}
const ElementwiseKernels& elementwise_kernels(Device device) {
  return select(device, cpu::elementwise);
}
const LinearKernels& linear_kernels(Device device) {
  return select(device, cpu::linear);
}
const OptimizerKernels& optimizer_kernels(Device device) {
  return select(device, cpu::optimizer);
}
const PoolKernels& pool_kernels(Device device) {
  return select(device, cpu::pool);
}

}  // namespace systole::kernels
