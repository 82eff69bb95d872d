#include "tools/bench_peer.h"

#include <cstdlib>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "kernels/common/error.h"
#include "kernels/common/parallel.h"
#include "tools/worker_process.h"

namespace systole::tools {

void prepare_environment_of_workers() {
  const std::string count = std::to_string(threads());
  for (const char* name : {"OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"})
    setenv(name, count.c_str(), 1);
  setenv("OMP_WAIT_POLICY", "passive", 0);
  setenv("GOMP_SPINCOUNT", "10000", 0);        // of libgomp: about 0.1 ms
  setenv("OPENBLAS_THREAD_TIMEOUT", "18", 0);  // 2^18 clocks
}

std::optional<Peer> find_peer(const std::string& python, const CommonOptions& common, std::string& why_not) {
  if (python == "none") {
    why_not = "--peer none";
    return std::nullopt;
  }
  const std::string program = python == "auto" ? "python3" : python;
  try {
    WorkerProcess process(
        program, joined({program, peer_script("losses.py").string(), "--describe"}, peer_device_arguments(common)));
    const auto answer = nlohmann::json::parse(process.line());
    if (!answer.contains("missing")) return Peer{program, answer["name"], answer["product_flop_per_second"]};
    why_not = fmt::format("{}: {}", program, answer["missing"].get<std::string>());
  } catch (const nlohmann::json::exception&) {
    why_not = fmt::format("{} does not answer as losses.py does", program);
  } catch (const Error& error) {
    why_not = error.what();
  }
  if (python != "auto") throw UsageError(fmt::format("--peer must be a Python with PyTorch: {}", why_not));
  return std::nullopt;
}

void print_peer(const std::optional<Peer>& peer, const std::string& why_not, Device device, double ceiling) {
  if (!peer) {
    fmt::print("no PyTorch beside: {}\n", why_not);
    return;
  }
  const double rate = peer->product_flop_per_second;
  fmt::print("pytorch: {} of {}, whose product of 1024 x 1024 matrices has {:.1f} GFLOP/s\n", peer->name, peer->python,
             rate / 1e9);
  if (device == Device::cpu && rate < 0.2 * ceiling)
    fmt::print("  note: that is {:.0f} % of the ceiling. Its BLAS is a slow one, and its times say little\n",
               100 * rate / ceiling);
}

std::filesystem::path peer_script(const std::string& name) {
  const char* moved = std::getenv("SYSTOLE_SOURCE_DIR");  // where the program was built elsewhere
  return std::filesystem::path(moved ? moved : SYSTOLE_SOURCE_DIR) / "benchmarks/peers" / name;
}

std::vector<std::string> peer_device_arguments(const CommonOptions& common) {
  const bool cuda = parse_device(common.device) == Device::cuda;
  return {"--device",  cuda ? "cuda" : "cpu",    "--precision", cuda ? common.precision : "f32",
          "--threads", std::to_string(threads())};
}

std::vector<std::string> joined(std::vector<std::string> a, const std::vector<std::string>& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

}  // namespace systole::tools
