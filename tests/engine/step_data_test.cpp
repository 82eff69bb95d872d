#include "engine/step_data.h"

#include <array>

#include "tests/support.h"
#include "tests/tensors.h"

using namespace systole;

TEST_CASE("step data: steps read their inputs in order, and their results are there when they are asked for") {
  const Tensor numbers = test::zeros({2}), step = Tensor::zeros({1}, test::device(), DType::i32),
               result = test::zeros({2});
  StepData data({numbers, Tensor(), step}, {result}, 3, test::device());
  for (int epoch = 0; epoch < 2; ++epoch) {
    for (int i = 0; i < 3; ++i) {
      data.set<float>(i, 0, std::array{1.5f + static_cast<float>(i)});
      data.set<int32_t>(i, 2, std::array{10 * epoch + i});
    }
    data.start();
    for (int i = 0; i < 3; ++i) {
      data.fetch();
      CHECK(numbers.to_vector() == std::vector<float>{1.5f + static_cast<float>(i), 0});
      CHECK(step.to_vector<int32_t>() == std::vector<int32_t>{10 * epoch + i});
      result.copy_from(numbers);
      data.keep();
    }
    data.read(1, 2);
    CHECK(data.result<float>(1, 0) == std::vector<float>{2.5f, 0});
    CHECK(data.result<float>(2, 0) == std::vector<float>{3.5f, 0});
  }
}

TEST_CASE("step data: what does not fit is refused") {
  const Tensor two = test::zeros({2});
  StepData data({two}, {}, 1, test::device());
  CHECK(test::sentence_of<Error>([&] { data.set<float>(1, 0, std::array{1.0f}); }).find("step 1 of 1") !=
        std::string::npos);
  CHECK(test::sentence_of<Error>([&] {
          data.set<float>(0, 0, std::array{1.0f, 2.0f, 3.0f});
        }).find("3 numbers for step 0 of 1, whose column has 2") != std::string::npos);
  CHECK(test::sentence_of<Error>([&] {
          StepData(std::vector(9, two), {}, 1, test::device());
        }).find("9 columns, expected at most 8") != std::string::npos);
  CHECK(test::sentence_of<Error>([&] {
          StepData({Tensor::zeros({1}, test::device(), DType::i16)}, {}, 1, test::device());
        }).find("elements of four bytes") != std::string::npos);
}
