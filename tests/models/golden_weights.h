// Weights, views and comparisons of the golden files that tests/golden/make_encoders.py and make_methods.py write.
#pragma once

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "engine/parameters.h"
#include "tests/models/file_order.h"
#include "tests/models/parity_data.h"
#include "tests/support.h"
#include "tests/tensors.h"

namespace systole::test {

inline constexpr double kParityTolerance =
    1e-4;  // of float32 against double, relative to the largest value or to the norm
inline constexpr uint64_t kProbeStream = 950;  // of make_encoders.py

inline bool ends_with(const std::string& text, const std::string& end) {
  return text.size() >= end.size() && text.compare(text.size() - end.size(), end.size(), end) == 0;
}

/// Every parameter by the formula of make_encoders.py: its stream is its place among the sorted names.
inline void set_golden_weights(ParameterStore& store) {
  std::map<std::string, std::vector<int64_t>> shapes;  // in PyTorch's order
  NamedArrays state = store.state();
  std::vector<std::string> names;
  for (const Parameter& p : store.parameters()) names.push_back(p.name);
  std::sort(names.begin(), names.end());
  for (const auto& [name, array] : state) shapes[name] = array.shape;
  for (auto& [name, array] : state) {
    const auto place = std::find(names.begin(), names.end(), name);
    if (place == names.end()) continue;
    const auto stream = static_cast<uint64_t>(place - names.begin());
    const std::string layer = name.substr(0, name.rfind('.'));
    size_t count = 1, fan_in = 1;
    for (const int64_t size : array.shape) count *= static_cast<size_t>(size);
    if (shapes.count(layer + ".running_mean")) {
      array =
          FileArray::from_float(parity_batch_norm(count, ends_with(name, "weight") ? 1.0 : 0.0, stream), array.shape);
      continue;
    }
    const std::vector<int64_t>& weight = shapes.at(layer + ".weight");
    for (size_t i = 1; i < weight.size(); ++i) fan_in *= static_cast<size_t>(weight[i]);
    array = FileArray::from_float(parity_weights(count, fan_in, stream), array.shape);
  }
  store.load_state(state, "", "formula");
}

inline Tensor golden_views(int N, int L, int leads, int batch = 0) {
  std::vector<float> both;
  for (int view = 0; view < 2; ++view) {
    const std::vector<float> x = to_channels_last(parity_input(N, leads, L, batch, view), N, leads, L);
    both.insert(both.end(), x.begin(), x.end());
  }
  return tensor(both, {2 * N, L, leads});
}

/// Norm, product with a fixed vector, first element: against golden numbers, within kParityTolerance of `scale`.
inline void check_brief(const std::vector<float>& values, const std::vector<double>& expected, double scale,
                        const std::string& what) {
  double squares = 0, product = 0;
  for (size_t i = 0; i < values.size(); ++i) {
    squares += double{values[i]} * values[i];
    product += values[i] * (2 * fraction(i, kProbeStream) - 1);
  }
  const double found[] = {std::sqrt(squares), product, values[0]};
  for (size_t i = 0; i < 3; ++i)
    CHECK_MESSAGE(std::abs(found[i] - expected.at(i)) <= kParityTolerance * scale,
                  fmt::format("{}, number {}: {} instead of {}", what, i, found[i], expected[i]));
}

/// A bias in front of a BatchNorm has gradient zero, whatever roundings leave; its scale is its weight's.
inline void check_gradients(const ParameterStore& store, const nlohmann::json& expected) {
  size_t checked = 0;
  for (const Parameter& p : store.parameters()) {
    if (!expected.contains(p.name)) continue;
    const std::vector<double> numbers = expected.at(p.name);
    const std::string weight = p.name.substr(0, p.name.rfind('.')) + ".weight";
    const double scale = std::max(numbers.at(0), 0.01 * expected.at(weight).at(0).get<double>());
    check_brief(gradient_in_file_order(p), numbers, scale, "gradient of " + p.name);
    ++checked;
  }
  CHECK(checked == expected.size());
}

}  // namespace systole::test
