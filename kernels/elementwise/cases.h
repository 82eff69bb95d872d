// The shapes on which the elementwise kernels are tested and measured.
#pragma once

#include <vector>

#include "kernels/elementwise/elementwise.h"

namespace systole::kernels {

struct ElementwiseCase {
  const char* name;
  int N;
  int64_t elements;  // per record

  int64_t count() const { return N * elements; }
  double flop() const { return static_cast<double>(count()); }
  /// relu, scale and dropout: one tensor read, one written.
  double map_bytes() const { return 2.0 * sizeof(float) * static_cast<double>(count()); }
  /// add, relu_backward, and every map that accumulates: two read, one written.
  double join_bytes() const { return 3.0 * sizeof(float) * static_cast<double>(count()); }
};

const std::vector<ElementwiseCase>& elementwise_cases();

struct ConcatenateCase {
  const char* name;
  ConcatenateShape shape;

  double flop() const { return 0; }
  double bytes() const { return 2.0 * sizeof(float) * static_cast<double>(shape.rows * (shape.C_a + shape.C_b)); }
};

const std::vector<ConcatenateCase>& concatenate_cases();

struct SplitLeadsCase {
  const char* name;
  SplitLeadsShape shape;

  double flop() const { return 0; }
  double bytes() const { return 2.0 * sizeof(float) * shape.V * shape.N * shape.L * shape.C; }
};

const std::vector<SplitLeadsCase>& split_leads_cases();

struct GatherCase {
  const char* name;
  GatherShape shape;
  int table_rows;

  double flop() const { return 0; }
  double bytes() const { return 2.0 * sizeof(float) * shape.N * shape.C + 1.0 * sizeof(int32_t) * shape.N; }
};

const std::vector<GatherCase>& gather_cases();

}  // namespace systole::kernels
