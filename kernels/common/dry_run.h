// A dry run: operations record, allocate and free as ever, but nothing is computed and nothing is copied. So the memory
// that a step will take can be counted before it runs, at any size and on any device.
#pragma once

#include "kernels/common/scoped_flag.h"

namespace systole {

/// While it lives, kernels and copies of this thread do nothing; what is copied to the host is zeros. Tensors then hold
/// no values and may even have no memory (Arena::imaginary).
using DryRun = ScopedFlag<struct DryRunTag>;

}  // namespace systole
