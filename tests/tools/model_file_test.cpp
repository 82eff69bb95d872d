// Files of networks that were made to do harm: a network is built only of what such files can hold.

#include "tools/model_file.h"

#include "engine/checkpoint/tensor_file.h"
#include "kernels/common/error.h"
#include "tests/support.h"

using namespace systole;
using namespace systole::test;

namespace {

constexpr const char* kFirstWeight = "features.0.block.0.weight";

std::string refusal_of_encoder(const std::vector<int64_t>& shape, const std::string& description) {
  const TemporaryFolder folder;
  FileArray weight{FileType::i8, shape, {}};
  weight.bytes.resize(static_cast<size_t>(weight.count()));
  write_tensor_file(folder / "a.safetensors", {{{"encoder", {{kFirstWeight, weight}}}}, description});
  return sentence_of<Error>([&] { tools::read_encoder(folder / "a.safetensors"); });
}

}  // namespace

TEST_CASE("model file: sizes that no network has are refused before one is built") {
  for (const std::vector<int64_t>& shape : {std::vector<int64_t>{1 << 20, 0, 7}, {1 << 20, 1, 1}, {8, 0, 7}, {1, 1, 0}})
    CHECK(refusal_of_encoder(shape, "").find("sizes from 1 to 16384 were expected") != std::string::npos);

  const TemporaryFolder folder;
  const FileArray head{FileType::f32, {int64_t{1} << 40, 0}, {}};
  write_tensor_file(folder / "a.pt", {{{"model", {{"head.weight", head}}}}, ""});
  CHECK(sentence_of<Error>([&] { tools::read_classifier(folder / "a.pt"); }) ==
        (folder / "a.pt").string() +
            ": 'head.weight' has the shape [1099511627776, 0], sizes from 1 to 16384 were expected");
}

TEST_CASE("model file: a description that is ambiguous or nested without end is refused") {
  const std::string nested = std::string(200'000, '[') + std::string(200'000, ']');
  CHECK(refusal_of_encoder({8, 12, 7}, R"({"normalization": )" + nested + "}").find("nested deeper than 32 levels") !=
        std::string::npos);
  CHECK(refusal_of_encoder({8, 12, 7}, R"({"leads": 12, "leads": 13})").find("the key \"leads\" is there twice") !=
        std::string::npos);
}

TEST_CASE("model file: a number of the description that an int cannot hold is refused, not cut off") {
  for (const auto& [description, number] : {std::pair{R"({"signal_length": 1e300})", "1e+300"},
                                            {R"({"signal_length": 4294967296})", "4294967296"},
                                            {R"({"lead_groups": [[0, 1], [2, -3000000000]]})", "-3000000000"}})
    CHECK_MESSAGE(refusal_of_encoder({8, 12, 7}, description)
                          .find(fmt::format("a.safetensors: its description is not valid: {} is no whole number from "
                                            "-2147483648 to 2147483647",
                                            number)) != std::string::npos,
                  refusal_of_encoder({8, 12, 7}, description));
}
