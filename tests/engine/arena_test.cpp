#include "engine/arena.h"

#include "engine/operations.h"
#include "engine/tensor.h"
#include "kernels/common/dry_run.h"
#include "tests/support.h"
#include "tests/tensors.h"

using namespace systole;

TEST_CASE("engine: an arena hands out the same addresses in every step") {
  Arena arena(test::device());
  std::vector<const float*> first, second;
  for (auto* addresses : {&first, &second}) {
    const ArenaScope scope(arena);
    for (int64_t size : {1, 1000, 5'000'000, 17})
      addresses->push_back(Tensor::empty({size}, test::device()).data());  // the third needs a block of its own
  }
  CHECK(first == second);
}

TEST_CASE("engine: memory of an arena is aligned and disjoint") {
  Arena arena(test::device());
  const ArenaScope scope(arena);
  const Tensor a = Tensor::empty({3}, test::device()), b = Tensor::empty({3}, test::device());
  CHECK(reinterpret_cast<uintptr_t>(a.data()) % 64 == 0);
  CHECK(reinterpret_cast<uintptr_t>(b.data()) % 64 == 0);
  CHECK(std::abs(b.data() - a.data()) >= 3);
}

TEST_CASE("engine: a tensor made outside of a scope keeps its memory through it") {
  Arena arena(test::device());
  const Tensor kept = test::tensor<float>({1, 2, 3}, {3});
  for (int i = 0; i < 2; ++i) {
    const ArenaScope scope(arena);
    test::zeros({1000});
  }
  CHECK(kept.to_vector() == std::vector<float>{1, 2, 3});
  CHECK(arena.peak() >= 4000);
}

TEST_CASE("engine: tensors check shapes, types and slices") {
  const Tensor t = test::tensor<float>({1, 2, 3, 4, 5, 6}, {2, 3});
  CHECK(t.shape().text() == "[2, 3]");
  CHECK(t.slice(3, {3}).to_vector() == std::vector<float>{4, 5, 6});
  CHECK(t.reshaped({3, 2}).dim(0) == 3);
  CHECK(test::sentence_of<Error>([&] { t.reshaped({4}); }) == "a tensor of shape [2, 3] cannot become [4]");
  CHECK(test::sentence_of<Error>([&] { t.slice(5, {2}); }).find("elements 5 to 7") != std::string::npos);
  CHECK(test::sentence_of<Error>([&] { t.data<int32_t>(); }).find("another type") != std::string::npos);
  CHECK(test::sentence_of<Error>([] { Tensor::empty({1, 1, 1, 1, 1}); }).find("at most 4") != std::string::npos);
  CHECK(test::sentence_of<Error>([] { Tensor::empty({2, -1}); }) == "a shape cannot have the dimension -1");
  CHECK(test::sentence_of<Error>([&] { t.to_vector<int32_t>(); }).find("another type") != std::string::npos);
  CHECK(test::sentence_of<Error>([&] { t.item(); }).find("not one number") != std::string::npos);
}

TEST_CASE("engine: what is copied to a tensor comes back, and other tensors that share its memory see it") {
  const Tensor t = test::tensor<float>({1, 2, 3, 4, 5, 6}, {2, 3});
  const Tensor row = t.slice(3, {3});
  row.copy_from(test::tensor<float>({7, 8, 9}, {3}));
  CHECK(t.to_vector() == std::vector<float>{1, 2, 3, 7, 8, 9});
  row.fill_zero();
  CHECK(t.to_vector() == std::vector<float>{1, 2, 3, 0, 0, 0});
  CHECK(t.slice(1, {1}).item() == 2);
  CHECK(test::tensor<int16_t>({-5, 7}, {2}).to_vector<int16_t>() == std::vector<int16_t>{-5, 7});
  CHECK(test::zeros({0}).to_vector().empty());
  CHECK(test::sentence_of<Error>([&] { row.copy_from(test::zeros({2})); }).find("[2]") != std::string::npos);
  CHECK(test::sentence_of<Error>([&] { row.copy_from(nullptr, 5); }) == "5 bytes do not fill a tensor of 12 bytes");
}

TEST_CASE("engine: an arena hands out again what was given back, in gaps that grow together") {
  Arena arena(test::device());
  const ArenaScope scope(arena);
  const auto make = [](int64_t size) { return Tensor::empty({size}, test::device()); };
  Tensor a = make(1000), b = make(1000), c = make(1000);
  const float *const first = a.data(), *const second = b.data();
  b = {};
  CHECK(make(500).data() == second);
  a = {};
  CHECK(make(2000).data() == first);  // the gap of both
  CHECK(make(2100).data() > c.data());
  CHECK(arena.peak() < 4 * (3 * 1000 + 2 * 2100));
}

TEST_CASE("engine: an imaginary arena counts what a dry run would need, and a reserved one has it in one piece") {
  const auto step = [] {
    const Tensor a = Tensor::empty({1000}, test::device());
    for (int i = 0; i < 3; ++i) Tensor::zeros({50'000'000}, test::device());
    return reinterpret_cast<uintptr_t>(a.data());
  };
  Arena imaginary = Arena::imaginary(test::device());
  {
    const DryRun dry;
    const ArenaScope scope(imaginary);
    step();
  }
  CHECK(imaginary.extent() >= 4 * 50'001'000u);
  CHECK(imaginary.extent() < 4 * 50'002'000u);
  Arena arena(test::device());
  arena.reserve(imaginary.extent());
  const ArenaScope scope(arena);
  Tensor::empty({50'000'000}, test::device());
  CHECK(arena.extent() <= imaginary.extent());
}

TEST_CASE("engine: a dry run computes and copies nothing") {
  const Tensor x = test::tensor<float>({1, 2, 3}, {3});
  {
    const DryRun dry;
    x.fill_zero();
    x.copy_from(test::tensor<float>({4, 5, 6}, {3}));
    relu(x);
    CHECK(x.to_vector() == std::vector<float>{0, 0, 0});
  }
  CHECK(x.to_vector() == std::vector<float>{1, 2, 3});
}
