// What flows between convolution blocks is a convolution's raw output together with the BatchNorm and ReLU that its
// reader applies while it loads: z = relu(x · scale + shift), per channel and per group of records (a group is one
// view).
#pragma once

namespace systole::kernels {

struct PendingAffine {
  const float* scale = nullptr;  // [groups, C]; null: the input is read as it is
  const float* shift = nullptr;  // [groups, C]
  int groups = 1;                // record n of N belongs to group n / (N / groups); groups divides N
  bool relu = false;
};

}  // namespace systole::kernels
