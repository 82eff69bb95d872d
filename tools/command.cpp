#include "tools/command.h"

#include <CLI/CLI.hpp>
#include <csignal>
#include <cstdio>
#include <fmt/format.h>
#include <fstream>
#include <new>
#include <nlohmann/json.hpp>

#include "kernels/common/error.h"
#include "kernels/common/parallel.h"
#include "kernels/conv1d/implementation.h"
#include "tools/interruption.h"

namespace systole::tools {

void add_threads_option(CLI::App& command, CommonOptions& options) {
  command.add_option("--threads", options.threads, "CPU threads of the devices cpu and simt; 0 for all")
      ->check(CLI::Range(0, 4096))
      ->capture_default_str();
}

void add_seed_option(CLI::App& command, CommonOptions& options) {
  command.add_option("--seed", options.seed, "Seed of everything random")->capture_default_str();
}

void add_device_options(CLI::App& command, CommonOptions& options) {
  command.add_option("--device", options.device, "Where kernels run: auto, cpu, simt or cuda")->capture_default_str();
  command
      .add_option(
          "--precision", options.precision,
          "Of the factors of convolutions and matrix products: f32, tf32 or bf16, which also stores series so; the cpu "
          "emulates the last two")
      ->capture_default_str();
}

void add_convolution_option(CLI::App& command, CommonOptions& options) {
  command
      .add_option("--conv", options.convolution,
                  "Which convolution: systole; on cuda also portable (without wgmma, which only Hopper GPUs have) or "
                  "cudnn; on simt also wgmma")
      ->capture_default_str();
}

void add_machine_options(CLI::App& command, CommonOptions& options) {
  add_device_options(command, options);
  add_convolution_option(command, options);
  add_threads_option(command, options);
}

void add_common_options(CLI::App& command, CommonOptions& options) {
  add_machine_options(command, options);
  add_seed_option(command, options);
}

void add_host_options(CLI::App& command, CommonOptions& options) {
  add_threads_option(command, options);
  add_seed_option(command, options);
}

void prepare_host(const CommonOptions& options) {
  set_threads(options.threads);
  flush_denormals();
}

Device prepare(const CommonOptions& options) {
  prepare_host(options);
  const Device device = parse_device(options.device);
  set_precision(parse_precision(options.precision));
  kernels::set_convolution(kernels::parse_convolution(options.convolution, device));
  fmt::print(stderr, "device {} ({}), precision {}, convolution {}\n", name(device), describe(device),
             options.precision, options.convolution);
  return device;
}

Device prepare_to_measure(const CommonOptions& options) {
  if (parse_device(options.device) == Device::cpu && parse_precision(options.precision) != Precision::f32)
    throw UsageError(fmt::format(
        "--precision {}: the cpu emulates it, which is not worth measuring; expected f32, or another --device",
        options.precision));
  return prepare(options);
}

nlohmann::json to_json(const CommonOptions& options) {
  return {{"device", name(parse_device(options.device))},
          {"precision", options.precision},
          {"conv", options.convolution},
          {"seed", options.seed}};
}

std::vector<std::string> command_line() {
  std::ifstream file("/proc/self/cmdline", std::ios::binary);
  std::vector<std::string> words;
  for (std::string word; std::getline(file, word, '\0');) words.push_back(word);
  return words;
}

void require_option(bool valid, const std::string& option, const std::string& allowed, const std::string& found) {
  if (!valid) throw UsageError(fmt::format("{} must be {}, not {}", option, allowed, found));
}

std::filesystem::path beside(const std::filesystem::path& out, const std::string& suffix) {
  return out.parent_path() / (out.stem().string() + "." + suffix);
}

std::string printable(std::string text) {
  for (char& c : text)
    if ((static_cast<unsigned char>(c) < ' ' && c != '\n' && c != '\t') || c == '\x7f') c = '?';
  return text;
}

/// CLI11 would answer an unknown command with "A subcommand is required".
static void require_known_command(const CLI::App& app, int argc, const char* const* argv) {
  if (argc < 2 || argv[1][0] == '-') return;
  std::string known;
  for (const CLI::App* command : app.get_subcommands({})) {
    if (command->get_name() == argv[1]) return;
    known += (known.empty() ? "" : ", ") + command->get_name();
  }
  throw UsageError(fmt::format("unknown command '{}'; expected one of {}", argv[1], known));
}

int run_command_line(int argc, const char* const* argv) {
  std::signal(SIGXFSZ, SIG_IGN);  // a file that grows beyond its limit is a failed write, with a sentence
  CLI::App app{"Systole: contrastive self-supervised learning on ECGs"};
  app.name("systole");
  app.set_version_flag("--version", "systole " SYSTOLE_VERSION);
  app.require_subcommand(1);
  add_generate(app);
  add_pack(app);
  add_check_data(app);
  add_pretrain(app);
  add_finetune(app);
  add_supervised(app);
  add_evaluate(app);
  add_label_curve(app);
  add_embed(app);
  add_views(app);
  add_bench(app);
  add_info(app);
  add_reproduce(app);
  try {
    require_known_command(app, argc, argv);
    app.parse(argc, argv);
    return 0;
  } catch (const CLI::Success& success) {  // --help, --version
    return app.exit(success);
  } catch (const CLI::ParseError& error) {
    fmt::print(stderr, "systole: {} (systole --help lists the commands, systole COMMAND --help its options)\n",
               printable(error.what()));
    return 2;
  } catch (const Interrupted& interrupted) {
    fmt::print(stderr, "systole: {}\n", interrupted.what());
    return interrupted.exit_code();
  } catch (const UsageError& error) {
    fmt::print(stderr, "systole: {}\n", printable(error.what()));
    return 2;
  } catch (const std::bad_alloc&) {
    fmt::print(stderr, "systole: out of memory; a smaller --batch-size, --width or --signal-length needs less\n");
    return 1;
  } catch (const std::exception& error) {
    fmt::print(stderr, "systole: {}\n", printable(error.what()));
    return 1;
  }
}

}  // namespace systole::tools
