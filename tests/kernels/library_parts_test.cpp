// What stands around cuBLAS and cuDNN against double, and on a GPU these libraries' tables against the cpu's.

#include "kernels/conv1d/library_parts.h"

#include "kernels/conv1d/cases.h"
#include "kernels/conv1d/implementation.h"
#include "kernels/linear/bias.h"
#include "kernels/linear/cases.h"
#include "tests/device.h"
#include "tests/reference/conv1d.h"
#include "tests/support.h"

namespace systole {
namespace {

using Floats = std::vector<float>;

const kernels::BiasKernels& bias_kernels() {
#if defined(SYSTOLE_CUDA)
  if (test::device() == Device::cuda) return kernels::cuda::bias;
#endif
  return kernels::simt::bias;
}

const kernels::LibraryParts& library_parts() {
#if defined(SYSTOLE_CUDA)
  if (test::device() == Device::cuda) return kernels::cuda::library_parts;
#endif
  return kernels::simt::library_parts;
}

/// The cpu has no need of these kernels: there is nothing to test on it.
bool on_cpu() {
  return test::device() == Device::cpu;
}

constexpr struct {
  int64_t rows;
  int C;
} kMatrices[] = {{1, 1}, {2, 3}, {7, 12}, {127, 1}, {129, 33}, {512, 5}, {513, 20}, {1001, 250}, {1537, 64}};

}  // namespace

TEST_CASE("library parts: the sums of columns, in one piece and in several, and added to what is there") {
  if (on_cpu()) return;
  for (const auto& [rows, C] : kMatrices) {
    const Floats x = test::random_normal(static_cast<size_t>(rows * C), 1);
    std::vector<double> exact(static_cast<size_t>(C));
    Floats plain(exact.size());
    for (size_t i = 0; i < x.size(); ++i) {
      exact[i % exact.size()] += double{x[i]};
      plain[i % exact.size()] += x[i];
    }
    Floats sums(exact.size()), twice(exact.size()), partial(kernels::column_sums_scratch(rows, C));
    {
      test::OnDevice d;
      float *const to = d.out(sums), *const to_twice = d.out(twice), *const memory = d.out(partial);
      const float* const from = d.in(x);
      bias_kernels().column_sums(d.queue(), rows, C, from, memory, to, GradientMode::overwrite);
      bias_kernels().column_sums(d.queue(), rows, C, from, memory, to_twice, GradientMode::overwrite);
      bias_kernels().column_sums(d.queue(), rows, C, from, memory, to_twice, GradientMode::accumulate);
    }
    test::check_as_good_as_plain(sums, plain, exact, fmt::format("{} x {}", rows, C));
    for (float& sum : sums) sum *= 2;
    CHECK(twice == sums);
  }
}

TEST_CASE("library parts: bias and transpose are exact") {
  if (on_cpu()) return;
  for (const auto& [rows, C] : kMatrices) {
    const Floats x = test::random_normal(static_cast<size_t>(rows * C), 1),
                 bias = test::random_normal(static_cast<size_t>(C), 2);
    Floats with_bias = x, transposed(x.size()), twice = x;
    {
      test::OnDevice d;
      bias_kernels().add(d.queue(), rows, C, d.in(bias), d.out(with_bias));
      library_parts().transpose(d.queue(), static_cast<int>(rows), C, d.in(x), d.out(transposed),
                                GradientMode::overwrite);
    }
    {
      test::OnDevice d;
      library_parts().transpose(d.queue(), C, static_cast<int>(rows), d.in(transposed), d.out(twice),
                                GradientMode::accumulate);
    }
    const auto width = static_cast<size_t>(C);
    Floats expected_sum = x, expected_transpose(x.size()), expected_twice = x;
    for (size_t i = 0; i < x.size(); ++i) {
      expected_sum[i] += bias[i % width];
      expected_transpose[i % width * static_cast<size_t>(rows) + i / width] = x[i];
      expected_twice[i] *= 2;
    }
    CHECK(with_bias == expected_sum);
    CHECK(transposed == expected_transpose);
    CHECK(twice == expected_twice);
  }
}

TEST_CASE("library parts: pending normalisation and moments per record are the convolution's own") {
  if (on_cpu()) return;
  for (const kernels::Conv1dShape& s :
       {kernels::Conv1dShape{4, 1, 3, 3, 1}, {2, 129, 12, 12, 1}, {4, 1001, 5, 5, 1}, {2, 37, 64, 64, 1}}) {
    const auto size = static_cast<size_t>(s.input_size()), C = static_cast<size_t>(s.C_in);
    const Floats x = test::random_normal(size, 1), scale = test::random_normal(2 * C, 2),
                 shift = test::random_normal(2 * C, 3);
    Floats identity(C * C), z(size), mean(C * static_cast<size_t>(s.N)), m2(mean.size());
    for (size_t c = 0; c < C; ++c) identity[c * C + c] = 1;
    Floats expected_z(size), expected_mean(mean.size()), expected_m2(mean.size());
    Queue cpu(Device::cpu);
    kernels::cpu::conv1d.forward(cpu, s, x.data(), {scale.data(), shift.data(), 2, true}, identity.data(), nullptr,
                                 expected_z.data(), {expected_mean.data(), expected_m2.data()});
    {
      test::OnDevice d;
      float* const memory = d.out(z);
      library_parts().apply_pending(d.queue(), s.N, s.L, s.C_in, d.in(x), {d.in(scale), d.in(shift), 2, true}, memory);
      library_parts().record_moments(d.queue(), s.N, s.L, s.C_in, memory, {d.out(mean), d.out(m2)});
    }
    test::check_close(z, expected_z, 1e-6, "z");
    test::check_close(mean, expected_mean, 1e-6, "mean");
    test::check_close(m2, expected_m2, 1e-5, "m2");
  }
}

#if defined(SYSTOLE_CUDA)

namespace {

/// What `passes(table, queue, in, out)` writes into its results, on the GPU and on the cpu.
template <class Table, class Passes>
void check_agrees_with_cpu(const Table& gpu_table, const Table& cpu_table, std::vector<Floats> results,
                           const Passes& passes, const char* what) {
  std::vector<Floats> expected = results;
  {
    test::OnDevice d;
    passes(
        gpu_table, d.queue(), [&](const Floats& v) { return d.in(v); }, [&](Floats& v) { return d.out(v); }, results);
  }
  Queue cpu(Device::cpu);
  passes(
      cpu_table, cpu, [](const Floats& v) { return v.data(); }, [](Floats& v) { return v.data(); }, expected);
  for (size_t i = 0; i < results.size(); ++i)
    test::check_close(results[i], expected[i], 3e-5, fmt::format("{}, result {}", what, i));
}

}  // namespace

TEST_CASE("cuda: the plain products, which the table leaves to cuBLAS, agree with the cpu") {
  if (test::device() != Device::cuda) return;
  for (const kernels::LinearCase& c : kernels::linear_cases()) {
    const kernels::LinearShape& s = c.shape;
    const auto M = static_cast<size_t>(s.M), D_in = static_cast<size_t>(s.D_in), D_out = static_cast<size_t>(s.D_out);
    const Floats x = test::random_normal(M * D_in, 1), w = test::random_normal(D_in * D_out, 2),
                 bias = test::random_normal(D_out, 3), dy = test::random_normal(M * D_out, 4);
    check_agrees_with_cpu(
        kernels::cuda::linear, kernels::cpu::linear,
        {Floats(dy.size()), Floats(x.size(), 1), Floats(w.size(), 1), Floats(D_out, 1)},
        [&](const auto& table, Queue& queue, const auto& in, const auto& out, std::vector<Floats>& to) {
          table.forward(queue, s, in(x), in(w), in(bias), out(to[0]));
          table.input_gradient(queue, s, in(dy), in(w), out(to[1]), GradientMode::accumulate);
          table.weight_gradient(queue, s, in(x), in(dy), out(to[2]), out(to[3]), GradientMode::accumulate);
        },
        c.name);
  }
}

#endif
#if defined(SYSTOLE_CUDNN)

TEST_CASE("cuda: cuDNN's convolutions agree with the cpu") {
  if (test::device() != Device::cuda) return;
  for (const kernels::Conv1dCase& c : kernels::conv1d_cases()) {
    kernels::Conv1dShape s = c.shape;
    if (!c.is_odd()) s.N = 2;
    const auto weights = static_cast<size_t>(s.weight_size()), C_out = static_cast<size_t>(s.C_out),
               moments = static_cast<size_t>(s.N) * C_out;
    const Floats x = test::random_normal(static_cast<size_t>(s.input_size()), 1), w = test::random_normal(weights, 2),
                 bias = test::random_normal(C_out, 3),
                 dy = test::random_normal(static_cast<size_t>(s.output_size()), 4),
                 scale = test::random_normal(static_cast<size_t>(s.C_in), 5),
                 shift = test::random_normal(static_cast<size_t>(s.C_in), 6), offset = test::random_normal(C_out, 7),
                 slope = test::random_normal(C_out, 8), mean = test::random_normal(static_cast<size_t>(s.C_in), 9);
    const auto sums = static_cast<size_t>(s.N) * static_cast<size_t>(s.C_in);
    check_agrees_with_cpu(
        kernels::cuda::conv1d_cudnn, kernels::cpu::conv1d,
        {Floats(dy.size()), Floats(moments), Floats(moments), Floats(x.size(), 1), Floats(weights, 1), Floats(C_out, 1),
         Floats(sums), Floats(sums)},
        [&](const auto& table, Queue& queue, const auto& in, const auto& out, std::vector<Floats>& to) {
          // Without ReLU, which would stop other elements where two roundings differ.
          const kernels::PendingGradient pending_dy{{in(dy), in(bias), in(slope), in(offset)}, in(offset), in(slope)};
          const kernels::NormalizedOutput input{in(x), in(mean), in(scale), in(shift)};
          const kernels::PendingAffine pending{in(scale), in(shift), 1, true};
          table.forward(queue, s, in(x), pending, in(w), in(bias), out(to[0]), {out(to[1]), out(to[2])});
          table.input_gradient(queue, s, in(dy), pending_dy, in(w), out(to[3]), GradientMode::accumulate,
                               {input, out(to[6]), out(to[7])});
          table.weight_gradient(queue, s, in(x), pending, in(dy), pending_dy, out(to[4]), out(to[5]),
                                GradientMode::accumulate);
        },
        c.name);
  }
}

#endif

}  // namespace systole
