// NT-Xent by wgmma against the kernels for all GPUs, on simt, where both are models, and on a GPU that has wgmma.

#include <optional>

#include "kernels/contrastive/contrastive.h"
#include "kernels/cuda/device.h"
#include "tests/device.h"
#include "tests/support.h"

using namespace systole;
using namespace systole::kernels;
using namespace systole::test;

namespace {

struct NtXentTables {
  const ContrastiveKernels &wgmma, &portable;
};
/// None where the device under test has no wgmma.
std::optional<NtXentTables> nt_xent_tables() {
#if defined(SYSTOLE_CUDA)
  if (device() == Device::cuda && cuda::has_wgmma()) return NtXentTables{cuda::contrastive_wgmma, cuda::contrastive};
#endif
  if (device() == Device::simt) return NtXentTables{simt::contrastive_wgmma, simt::contrastive};
  return std::nullopt;
}

struct NtXentResults {
  std::vector<float> loss{NAN}, log_sum, dz, dz_added;

  NtXentResults(const ContrastiveKernels& table, const NtXentShape& s, const std::vector<float>& x)
      : log_sum(static_cast<size_t>(s.M), NAN), dz(x.size(), NAN), dz_added(x) {
    std::vector<float> z(x.size()), norm(log_sum.size());
    const std::vector<float> upstream{0.5f};
    OnDevice d(Precision::bf16);
    const float* rows = d.out(z);
    table.l2_normalize(d.queue(), {s.M, s.D}, d.in(x), const_cast<float*>(rows), d.out(norm));
    float* const sums = d.out(log_sum);
    table.nt_xent_forward(d.queue(), s, rows, d.out(loss), sums);
    table.nt_xent_backward(d.queue(), s, rows, sums, d.in(upstream), d.out(dz), GradientMode::overwrite);
    table.nt_xent_backward(d.queue(), s, rows, sums, d.in(upstream), d.out(dz_added), GradientMode::accumulate);
  }
};

}  // namespace

TEST_CASE("nt_xent by wgmma: loss and gradient are those of the kernels for all GPUs") {
  const auto both = nt_xent_tables();
  if (!both) return;
  // One tile and less, a row more than a tile, an odd number of tiles, the middle of the batch inside a tile; fewer
  // numbers than an octet, a part of a step, the most. Temperatures of each kind of offset: plain, shifted, per row.
  for (const auto& [M, D] : {std::pair{4, 3}, {128, 128}, {130, 40}, {300, 128}, {512, 100}, {642, 16}})
    for (float temperature : {0.5f, 0.07f, 0.02f, 0.01f}) {
      const NtXentShape s{M, D, temperature};
      const std::vector<float> x = random_normal(static_cast<size_t>(M) * static_cast<size_t>(D), 1);
      const NtXentResults found(both->wgmma, s, x), expected(both->portable, s, x);
      // The factors are the same bf16 numbers: sums differ in their order, and so at times a weight in its last bit.
      const std::string what = text(s);
      check_close(found.loss, expected.loss, 1e-5, what + ": loss");
      check_close(found.log_sum, expected.log_sum, 1e-5, what + ": log_sum");
      check_close(found.dz, expected.dz, 2e-3, what + ": dz");
      check_close(found.dz_added, expected.dz_added, 2e-3, what + ": dz added");
    }
}
