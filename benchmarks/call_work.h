// What a call of a kernel table's entry must do at least, from its arguments: for a table of a step's launches with
// their floors (systole bench step --launches).
#pragma once

#include <string>

#include "kernels/common/table.h"

namespace systole::benchmarks {

struct CallWork {
  double product_flop = 0;  // of matrix products and convolutions, which tensor cores do
  double flop = 0;          // of everything else
  double exponentials = 0;
  double bytes = 0;  // every input once and every output once, as they are stored
};

/// Throws Error for an entry that is not known here.
CallWork work_of(const kernels::WatchedCall& call);
bool is_counted(const std::string& kernel);

}  // namespace systole::benchmarks
