#include "engine/autograd.h"

#include "engine/operations.h"
#include "tests/support.h"
#include "tests/tensors.h"

using namespace systole;

namespace {

Tensor leaf(const std::vector<float>& values, const Shape& shape) {
  Tensor t = test::tensor(values, shape);
  make_leaf(t, test::zeros(shape));
  return t;
}

/// Σ over all elements of a [1, D] tensor, by a linear layer of ones.
Tensor sum(const Tensor& row) {
  return linear(row, test::tensor(std::vector<float>(row.count(), 1.0f), {row.count(), 1}), {});
}

}  // namespace

TEST_CASE("engine: a value that is used twice gets the sum of both gradients") {
  const Tensor x = leaf({1, -2, 3}, {1, 3});
  const Tensor y = relu(x);
  backward(sum(add(add(y, y), x)));
  CHECK(gradient_of(x).to_vector() == std::vector<float>{3, 1, 3});
}

TEST_CASE("engine: gradients of leaves accumulate from one backward pass to the next") {
  const Tensor x = leaf({1, 2}, {1, 2});
  backward(sum(x));
  backward(sum(x));
  CHECK(gradient_of(x).to_vector() == std::vector<float>{2, 2});
}

TEST_CASE("engine: nothing is recorded without a leaf or under NoGradient") {
  const Tensor constant = test::tensor<float>({1, 2}, {1, 2});
  CHECK(!relu(constant).node());
  const Tensor x = leaf({1, 2}, {1, 2});
  {
    const NoGradient no_gradient;
    CHECK(!relu(x).node());
  }
  CHECK(relu(x).node() != nullptr);
}

TEST_CASE("engine: a graph can be walked once, and only from one number") {
  const Tensor x = leaf({1, 2}, {1, 2});
  const Tensor y = relu(x), loss = sum(y);
  CHECK(test::sentence_of<Error>([&] { backward(y); }).find("one number") != std::string::npos);
  backward(loss);
  CHECK(test::sentence_of<Error>([&] { backward(loss); }).find("walked already") != std::string::npos);
  CHECK(test::sentence_of<Error>([&] { backward(test::zeros({1})); }).find("depends on a parameter") !=
        std::string::npos);
}

TEST_CASE("engine: gradients of another shape are refused, and no node but a leaf has one to read") {
  const Tensor x = leaf({1, 2}, {1, 2});
  const Tensor y = relu(x);
  Tensor other = test::zeros({2, 1});
  CHECK(test::sentence_of<Error>([&] {
          make_leaf(other, test::zeros({1, 2}));
        }) == "a leaf of shape [2, 1] cannot have a gradient of shape [1, 2]");
  CHECK(!other.node());
  CHECK(test::sentence_of<Error>([&] {
          backward(y, test::zeros({2, 1}));
        }) == "backward from a tensor of shape [1, 2] cannot start with a gradient of shape [2, 1]");
  CHECK(test::sentence_of<Error>([&] { gradient_of(y); }) == "only a leaf keeps its gradient");
  CHECK(test::sentence_of<Error>([&] { gradient_of(other); }) == "only a leaf keeps its gradient");
  backward(y, test::tensor<float>({3, 4}, {1, 2}));  // the refusals have changed nothing
  CHECK(gradient_of(x).to_vector() == std::vector<float>{3, 4});
}

TEST_CASE("engine: a long chain is walked without recursion") {
  const Tensor x = leaf({1, 2}, {1, 2});
  Tensor y = x;
  for (int i = 0; i < 20'000; ++i) y = relu(y);
  backward(sum(y));
  CHECK(gradient_of(x).to_vector() == std::vector<float>{1, 1});
}
