// How the cases of a family are written: shared by the files that list them.
#pragma once

#include <functional>
#include <utility>
#include <vector>

#include "benchmarks/kernel_cases.h"

namespace systole::benchmarks {

using Cases = std::vector<KernelCase>;
using Run = std::function<void(Queue&, const Memory&)>;
inline constexpr GradientMode kOverwrite = GradientMode::overwrite;

/// `prepare` adds the buffers and gives what computes with them.
template <class Prepare>
void add(Cases& cases, const char* kernel, const char* shape, double flop, double bytes, const Prepare& prepare) {
  cases.push_back({kernel, shape, flop, bytes, [=](Device) {
                     Problem p;
                     Run run = prepare(p);
                     p.add("systole", std::move(run));
                     return p;
                   }});
}

inline int32_t* integers(float* memory) {
  return reinterpret_cast<int32_t*>(memory);
}

void add_contrastive(Cases& cases);
void add_optimizer(Cases& cases);
void add_step_data(Cases& cases);

}  // namespace systole::benchmarks
