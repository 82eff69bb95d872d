#include "engine/arena.h"

#include "engine/tensor.h"
#include "tests/support.h"

using namespace systole;

TEST_CASE("engine: an arena hands out the same addresses in every step") {
  Arena arena;
  std::vector<const float*> first, second;
  for (auto* addresses : {&first, &second}) {
    const ArenaScope scope(arena);
    for (int64_t size : {1, 1000, 5'000'000, 17})
      addresses->push_back(Tensor::empty({size}).data());  // the third needs a block of its own
  }
  CHECK(first == second);
}

TEST_CASE("engine: memory of an arena is aligned and disjoint") {
  Arena arena;
  const ArenaScope scope(arena);
  const Tensor a = Tensor::empty({3}), b = Tensor::empty({3});
  CHECK(reinterpret_cast<uintptr_t>(a.data()) % 64 == 0);
  CHECK(reinterpret_cast<uintptr_t>(b.data()) % 64 == 0);
  CHECK(std::abs(b.data() - a.data()) >= 3);
}

TEST_CASE("engine: a tensor made outside of a scope keeps its memory through it") {
  Arena arena;
  const Tensor kept = Tensor::from<float>({1, 2, 3}, {3});
  for (int i = 0; i < 2; ++i) {
    const ArenaScope scope(arena);
    Tensor::zeros({1000});
  }
  CHECK(kept.to_vector() == std::vector<float>{1, 2, 3});
  CHECK(arena.peak() >= 4000);
}

TEST_CASE("engine: tensors check shapes, types and slices") {
  const Tensor t = Tensor::from<float>({1, 2, 3, 4, 5, 6}, {2, 3});
  CHECK(t.shape().text() == "[2, 3]");
  CHECK(t.slice(3, {3}).to_vector() == std::vector<float>{4, 5, 6});
  CHECK(t.reshaped({3, 2}).dim(0) == 3);
  CHECK(test::sentence_of<Error>([&] { t.reshaped({4}); }) == "a tensor of shape [2, 3] cannot become [4]");
  CHECK(test::sentence_of<Error>([&] { t.slice(5, {2}); }).find("elements 5 to 7") != std::string::npos);
  CHECK(test::sentence_of<Error>([&] { t.data<int32_t>(); }).find("another type") != std::string::npos);
  CHECK(test::sentence_of<Error>([] { Tensor::empty({1, 1, 1, 1, 1}); }).find("at most 4") != std::string::npos);
}
