#include "kernels/elementwise/elementwise.h"

#include <fmt/format.h>

namespace systole::kernels {

std::string text(const ConcatenateShape& s) {
  return fmt::format("rows={} C_a={} C_b={}", s.rows, s.C_a, s.C_b);
}

std::string text(const ResidualShape& s) {
  return fmt::format("N={} L={} C={}", s.N, s.L, s.C);
}

std::string text(const DropoutShape& s) {
  return fmt::format("N={} elements={} p={}", s.N, s.elements, s.p);
}

std::string text(const SplitLeadsShape& s) {
  return fmt::format("V={} N={} L={} C={}", s.V, s.N, s.L, s.C);
}

std::string text(const GatherShape& s) {
  return fmt::format("N={} C={}", s.N, s.C);
}

}  // namespace systole::kernels
