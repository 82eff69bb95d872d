#include "engine/checkpoint/tensor_file.h"

#include <algorithm>
#include <cstring>

#include "kernels/common/error.h"
#include "tests/support.h"

namespace systole {
namespace {

using test::golden;
using test::sentence_of;
using test::TemporaryFolder;

const FileArray& find(const NamedArrays* section, const std::string& name) {
  REQUIRE(section);
  const auto found = std::ranges::find(*section, name, [](const auto& entry) { return entry.first; });
  REQUIRE_MESSAGE(found != section->end(), name);
  return found->second;
}

/// What make_checkpoints.py puts into its tensors: (i − 3) / 4 for floating types, i − 3 for whole ones.
std::vector<float> golden_numbers(int count, float divisor = 4) {
  std::vector<float> values;
  for (int i = 0; i < count; ++i) values.push_back(static_cast<float>(i - 3) / divisor);
  return values;
}

/// Values of a [rows, columns] array picked by `source(row, column)` from golden_numbers(24).
template <class Source>
std::vector<float> picked(int rows, int columns, const Source& source) {
  const std::vector<float> numbers = golden_numbers(24);
  std::vector<float> values;
  for (int row = 0; row < rows; ++row)
    for (int column = 0; column < columns; ++column)
      values.push_back(numbers[static_cast<size_t>(source(row, column))]);
  return values;
}

void check_module(const NamedArrays* section) {
  REQUIRE(section);
  std::vector<std::string> names;
  for (const auto& [name, array] : *section) names.push_back(name);
  std::ranges::sort(names);  // safetensors orders by type
  CHECK(names == std::vector<std::string>{"0.weight", "1.bias", "1.num_batches_tracked", "1.running_mean",
                                          "1.running_var", "1.weight"});
  CHECK(find(section, "0.weight").shape == std::vector<int64_t>{3, 2, 5});
  CHECK(find(section, "0.weight").to_float() == golden_numbers(30));
  CHECK(find(section, "1.running_var").to_float() == golden_numbers(3));
  CHECK(find(section, "1.num_batches_tracked").type == FileType::i64);
  CHECK(find(section, "1.num_batches_tracked").shape.empty());
  CHECK(find(section, "1.num_batches_tracked").to_float() == std::vector<float>{-3});
}

TensorFile example() {
  TensorFile file;
  file.metadata = R"({"leads": ["I", "II"], "rate_hz": 100, "note": "„ä“"})";
  file.sections.emplace_back("encoder", NamedArrays{});
  NamedArrays& encoder = file.sections.back().second;
  encoder.emplace_back("features.0.block.0.weight",
                       FileArray::from_float(test::random_normal(3 * 5 * 7, 1), {3, 5, 7}));
  encoder.emplace_back("features.0.block.1.num_batches_tracked", FileArray::from_int64({int64_t{1} << 40}, {}));
  encoder.emplace_back("empty", FileArray::from_float({}, {0, 4}));
  NamedArrays odd;
  for (const FileType type : {FileType::f64, FileType::f16, FileType::bf16, FileType::i32, FileType::i16, FileType::i8,
                              FileType::u8, FileType::boolean})
    odd.emplace_back(fmt::format("type{}", static_cast<int>(type)),
                     FileArray{type, {3}, std::vector<std::byte>(3 * byte_size(type), std::byte{1})});
  file.sections.emplace_back("model", std::move(odd));
  return file;
}

void check_equal(const TensorFile& a, const TensorFile& b) {
  CHECK(a.metadata == b.metadata);
  REQUIRE(a.sections.size() == b.sections.size());
  for (size_t s = 0; s < a.sections.size(); ++s) {
    CHECK(a.sections[s].first == b.sections[s].first);
    CHECK(a.sections[s].second.size() == b.sections[s].second.size());
    for (const auto& [name, array] : a.sections[s].second) {
      const FileArray& other = find(&b.sections[s].second, name);
      CHECK_MESSAGE((array.type == other.type && array.shape == other.shape && array.bytes == other.bytes), name);
    }
  }
}

/// A safetensors file with this header and `data` bytes behind it.
std::string safetensors(const std::string& header, size_t data) {
  const uint64_t length = header.size();
  std::string file(sizeof length, '\0');
  std::memcpy(file.data(), &length, sizeof length);
  return file + header + std::string(data, '\0');
}

std::string refusal(const std::filesystem::path& path) {
  return sentence_of<Error>([&] { read_tensor_file(path); });
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("tensor file: a module's state_dict is read from every form of torch.save") {
  for (const char* name : {"sections_zip.pt", "sections_stream.pt", "torch2_sections.pt"}) {
    CAPTURE(name);
    const TensorFile file = read_tensor_file(golden("checkpoints") / name);
    REQUIRE(file.sections.size() == 2);  // epoch, score, best and config hold no tensors
    check_module(file.section("encoder"));
    CHECK(find(file.section("head"), "weight").to_float() == golden_numbers(6));
    CHECK(file.section("head")->size() == 1);
    CHECK(file.section("epoch") == nullptr);
    CHECK(file.metadata.empty());
  }
}

TEST_CASE("tensor file: a plain state_dict is the section without a name") {
  for (const char* name : {"plain_zip.pt", "plain_stream.pt"}) {
    CAPTURE(name);
    const TensorFile file = read_tensor_file(golden("checkpoints") / name);
    REQUIRE(file.sections.size() == 1);
    check_module(file.section(""));
  }
}

TEST_CASE("tensor file: the section of a foreign safetensors file comes from its names") {
  check_module(read_tensor_file(golden("checkpoints/encoder.safetensors")).section("encoder"));
  const TemporaryFolder folder;
  test::write_file(
      folder / "a",
      safetensors(
          R"({"encoder.w":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"head.w":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}})",
          2));
  const TensorFile file = read_tensor_file(folder / "a");
  REQUIRE(file.section(""));
  CHECK(find(file.section(""), "encoder.w").bytes.size() == 1);
}

TEST_CASE("tensor file: types, strides, shared storages and parameters of torch.save") {
  for (const char* name : {"types_zip.pt", "types_stream.pt", "torch2_types.pt"}) {
    CAPTURE(name);
    const TensorFile file = read_tensor_file(golden("checkpoints") / name);
    const NamedArrays* model = file.section("model");
    for (const char* type : {"f64", "f32", "f16", "bf16"}) {
      CHECK_MESSAGE(find(model, type).to_float() == golden_numbers(6), type);
      CHECK(find(model, type).shape == std::vector<int64_t>{2, 3});
    }
    for (const char* type : {"i64", "i32", "i16", "i8"})
      CHECK_MESSAGE(find(model, type).to_float() == golden_numbers(6, 1), type);
    CHECK(find(model, "u8").to_float() == std::vector<float>{0, 1, 2, 3, 4, 5});
    CHECK(find(model, "boolean").to_float() == std::vector<float>{1, 0, 1});
    CHECK(find(model, "scalar").to_float() == std::vector<float>{7});
    CHECK(find(model, "empty").shape == std::vector<int64_t>{0, 3});
    CHECK(find(model, "transposed").to_float() == picked(3, 4, [](int r, int c) { return c * 3 + r; }));
    CHECK(find(model, "permuted").shape == std::vector<int64_t>{4, 2, 3});
    CHECK(find(model, "permuted").to_float() == picked(4, 6, [](int r, int c) { return c * 4 + r; }));
    CHECK(find(model, "every_second").to_float() == picked(3, 3, [](int r, int c) { return (r + 1) * 6 + c * 2; }));
    CHECK(find(model, "expanded").to_float() == picked(4, 3, [](int, int c) { return c; }));
    CHECK(find(model, "whole").to_float() == golden_numbers(12));
    CHECK(find(model, "part").to_float() == picked(2, 3, [](int r, int c) { return 4 + r * 3 + c; }));
    CHECK(find(model, "parameter").to_float() == golden_numbers(4));
  }
}

TEST_CASE("tensor file: the stride of a dimension of size 1 is never taken") {
  const TensorFile file = read_tensor_file(golden("checkpoints/stride_of_one.pt"));
  CHECK(find(file.section("model"), "weight").shape == std::vector<int64_t>{3, 1});
  CHECK(find(file.section("model"), "weight").to_float() == std::vector<float>{0, 2, 4});
}

TEST_CASE("tensor file: what is written is read back, and equal content gives equal bytes") {
  const TemporaryFolder folder;
  TensorFile plain;
  plain.sections.emplace_back("", NamedArrays{{"encoder.weight", FileArray::from_float({1, 2}, {2})},
                                              {"bias", FileArray::from_float({3}, {1})}});
  for (const char* extension : {".pt", ".pth", ".safetensors"}) {
    CAPTURE(extension);
    for (const TensorFile& file : {example(), plain}) {
      const auto path = folder / (std::string("a") + extension), again = folder / (std::string("b") + extension);
      write_tensor_file(path, file);
      check_equal(read_tensor_file(path), file);
      write_tensor_file(again, read_tensor_file(path));
      write_tensor_file(path, file);
      if (std::string(extension) != ".safetensors") CHECK(test::read_file(path) == test::read_file(again));
      write_tensor_file(again, file);
      CHECK(test::read_file(path) == test::read_file(again));
    }
  }
}

TEST_CASE("tensor file: the tensors of a written archive begin at multiples of 64 bytes") {
  const TemporaryFolder folder;
  write_tensor_file(folder / "a.pt", example());
  const std::string file = test::read_file(folder / "a.pt");
  int members = 0;
  for (size_t at = file.find("PK\3\4"); at != std::string::npos; at = file.find("PK\3\4", at + 1), ++members) {
    uint16_t name_length, extra_length;
    std::memcpy(&name_length, &file[at + 26], 2);
    std::memcpy(&extra_length, &file[at + 28], 2);
    CHECK((at + 30 + name_length + extra_length) % 64 == 0);
  }
  CHECK(members == 15);  // data.pkl, byteorder, 11 tensors, version, metadata
}

TEST_CASE("tensor file: hostile and broken checkpoints are refused with a sentence") {
  const std::pair<const char*, const char*> cases[] = {
      {"system", "asks for posix.system"},
      {"eval", "asks for __builtin__.eval"},
      {"nested", "asks for posix.system"},
      {"stream", "asks for posix.system"},
      {"getattr", "asks for collections.OrderedDict.__init__"},
      {"inst", "opcode 0x69"},
      {"newobj", "opcode 0x81"},
      {"protocol4", "protocol 4, 2 was expected"},
      {"attribute", "an attribute other than _metadata"},
      {"build_global", "where an OrderedDict was expected"},
      {"offset", "beyond its storage \"0\" of 6 elements"},
      {"offset_negative", "beyond its storage"},
      {"stride", "beyond its storage"},
      {"stride_negative", "stride or offset -1"},
      {"overflow", "beyond its storage"},
      {"expansion", "grow to more than 16 times"},
      {"rank", "99 dimensions"},
      {"count", "has 24 bytes, 28 were expected"},
      {"count_huge", "has 4611686018427387904 elements"},
      {"no_storage", "archive/data/0 cannot be read: No such file"},
      {"compressed", "compressed"},
      {"big_endian", "big-endian"},
      {"no_memo", "fetches value 5"},
      {"no_mark", "a mark that was never set"},
      {"empty_stack", "empty stack"},
      {"endless", "1 bytes too early"},
      {"truncated_zip", "the zip archive cannot be read"},
      {"truncated_stream", "is cut off"},
  };
  for (const auto& [name, expected] : cases) {
    const auto path = golden("checkpoints") / fmt::format("hostile_{}.pt", name);
    const std::string sentence = refusal(path);
    CHECK_MESSAGE(contains(sentence, expected), name << ": " << sentence);
    CHECK_MESSAGE(contains(sentence, path.string()), sentence);
  }
}

TEST_CASE("tensor file: no shortened checkpoint is taken for a whole one, and none crashes the reader") {
  const TemporaryFolder folder;
  write_tensor_file(folder / "a.safetensors", example());
  for (const auto& source :
       {golden("checkpoints/sections_zip.pt"), golden("checkpoints/sections_stream.pt"), folder / "a.safetensors"}) {
    const std::string whole = test::read_file(source);
    for (size_t size = 0; size < whole.size(); size += 1 + size / 40) {
      test::write_file(folder / "short", whole.substr(0, size));
      CHECK_MESSAGE(!refusal(folder / "short").empty(), source.string() << " cut to " << size);
    }
  }
}

TEST_CASE("tensor file: a damaged byte gives a sentence or a file, never a crash") {
  const TemporaryFolder folder;
  const RandomStream random(test::seed(), Purpose::test, 0, 77);
  uint32_t draw = 0;
  for (const char* name : {"types_zip.pt", "types_stream.pt", "encoder.safetensors"}) {
    const std::string whole = test::read_file(golden("checkpoints") / name);
    for (int i = 0; i < 100; ++i) {
      std::string damaged = whole;
      const uint32_t at = random.below(draw++, static_cast<uint32_t>(whole.size()));
      damaged[at] = static_cast<char>(random.bits(draw++));
      test::write_file(folder / "damaged", damaged);
      CAPTURE(name);
      CAPTURE(at);
      try {
        const TensorFile file = read_tensor_file(folder / "damaged");
        for (const auto& [section, arrays] : file.sections)
          for (const auto& [tensor, array] : arrays)
            CHECK(array.to_float().size() == static_cast<size_t>(array.count()));
      } catch (const Error& error) {
        CHECK(std::string(error.what()).size() > 10);
      }
    }
  }
}

TEST_CASE("tensor file: a safetensors header that does not fit its file is refused") {
  const TemporaryFolder folder;
  const std::tuple<const char*, size_t, const char*> cases[] = {
      {R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})", 7, "8 bytes, and the file has 7"},
      {R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})", 9, "8 bytes, and the file has 9"},
      {R"({"a":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}})", 8, "a shape that does not fit"},
      {R"({"a":{"dtype":"F32","shape":[-1,-2],"data_offsets":[0,8]}})", 8, "a shape that does not fit"},
      {R"({"a":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,0]}})", 0, "a shape that does not fit"},
      {R"({"a":{"dtype":"F8","shape":[2],"data_offsets":[0,2]}})", 2, "the unknown type F8"},
      {R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}})",
       3, "begins at byte 1, 2 was expected"},
      {R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}})", 3, "begins at byte 1, 0 was expected"},
      {R"({"a":{"dtype":"U8","shape":"x","data_offsets":[0,2]}})", 2, "is not as it must be"},
      {R"({"a":5})", 2, "is not as it must be"},
      {R"({"a":{"dtype":"U8","shape":2,"data_offsets":[0,2]}})", 2, "is not as it must be"},
      {R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[0,1,2]}})", 2, "data_offsets are two numbers"},
      {R"({"a":{"dtype":"U8","shape":[2.0],"data_offsets":[0,2]}})", 2, "2.0 is no whole number from -9223372036854"},
      {R"({"a":{"dtype":"U8","shape":[1099511618511627799511627777],"data_offsets":[0,0]}})", 0,
       "e+27 is no whole number"},
      {R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[18446744073709551615,18446744073709551616]}})", 1,
       "18446744073709551615 is no whole number"},
      {R"({"a":)", 0, "is not JSON"},
      {R"({"a":[[[[[[1]]]]]]})", 0, "nested deeper"},
      {R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}})",
       1, "the key \"a\" is there twice"},
      {R"({"a":{"dtype":"U8","shape":[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1],"data_offsets":[0,1]}})", 1,
       "has 17 dimensions, at most 16"},
      {R"({"a":{"dtype":"F32","shape":[0,1099511627776,1099511627776],"data_offsets":[0,0]}})", 0,
       "a shape that does not fit"},
  };
  for (const auto& [header, data, expected] : cases) {
    test::write_file(folder / "a", safetensors(header, data));
    CHECK_MESSAGE(contains(refusal(folder / "a"), expected), header << ": " << refusal(folder / "a"));
  }
  test::write_file(folder / "a", std::string("\xff\xff\xff\xff\xff\xff\xff\xff{}", 10));
  CHECK(contains(refusal(folder / "a"), "the header should have 18446744073709551615 bytes"));
}

TEST_CASE("tensor file: more sections than any network has are refused") {
  const TemporaryFolder folder;
  std::string names = "[";
  for (int i = 0; i < 300; ++i) names += fmt::format("{}\\\"s{}\\\"", i ? "," : "", i);
  test::write_file(folder / "a", safetensors(R"({"__metadata__":{"systole_sections":")" + names + R"(]"}})", 0));
  CHECK(contains(refusal(folder / "a"), "300 sections, at most 256"));
}

TEST_CASE("tensor file: nested lists in the metadata of safetensors do no harm") {
  const TemporaryFolder folder;
  const std::string nested = std::string(300'000, '[') + std::string(300'000, ']');
  test::write_file(folder / "a", safetensors(R"({"__metadata__":{"systole_sections":")" + nested +
                                                 R"("},"encoder.x":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}})",
                                             1));
  CHECK(read_tensor_file(folder / "a").section("encoder") != nullptr);
}

TEST_CASE("tensor file: a dictionary that stands in many places does not multiply") {
  const auto text = [](const std::string& value) {
    const auto size = static_cast<uint32_t>(value.size());
    std::string bytes = "X" + std::string(sizeof size, '\0') + value;
    std::memcpy(bytes.data() + 1, &size, sizeof size);
    return bytes;
  };
  const std::string proto("\x80\x02", 2);
  const std::string tensor = "ctorch._utils\n_rebuild_tensor_v2\n((" + text("storage") + "ctorch\nFloatStorage\n" +
                             text("0") + text("cpu") + std::string("K\0tQK\0K\0\x85K\1\x85tR", 14);
  const auto file = [&](int tensors, int sections) {
    std::string object = proto + "}(" + text("s0") + "}q" + std::string(1, '\0') + "(";
    for (int i = 0; i < tensors; ++i) object += text(fmt::format("t{}", i)) + (i ? std::string("h\1") : tensor + "q\1");
    object += "u";
    for (int i = 1; i < sections; ++i) object += text(fmt::format("s{}", i)) + std::string("h\0", 2);
    return test::read_file(golden("checkpoints/sections_stream.pt")).substr(0, 21) + proto + "}." + object + "u." +
           proto + "](" + text("0") + "e." + std::string(8, '\0');
  };
  const TemporaryFolder folder;
  test::write_file(folder / "a", file(2, 3));
  CHECK(read_tensor_file(folder / "a").sections.size() == 3);
  test::write_file(folder / "a", file(2000, 2000));  // 44 kB that name four million tensors
  CHECK(contains(refusal(folder / "a"), "grow to more than 16 times its size"));
}

TEST_CASE("tensor file: a file of another kind is not read whole") {
  const TemporaryFolder folder;
  test::write_file(folder / "a", std::string(100, 'x'));
  std::filesystem::resize_file(folder / "a", uintmax_t{1} << 42);  // takes no room on the disk
  CHECK(contains(refusal(folder / "a"), "neither one of torch.save nor safetensors"));
}

TEST_CASE("tensor file: what is no checkpoint at all is said to be none") {
  const TemporaryFolder folder;
  CHECK(contains(refusal(folder / "absent"), "does not exist"));
  CHECK(contains(refusal(folder.path()), "is not a file"));
  test::write_file(folder / "text", "a text that is no checkpoint");
  CHECK(contains(refusal(folder / "text"), "neither"));
  test::write_file(folder / "no_tensors", safetensors("{}", 0));
  CHECK(contains(refusal(folder / "no_tensors"), "holds no tensors"));
  test::write_file(folder / "empty", "");
  CHECK(contains(refusal(folder / "empty"), "neither"));
}

TEST_CASE("tensor file: a file that could not be read back is not written") {
  const TemporaryFolder folder;
  TensorFile file = example();
  CHECK(contains(sentence_of<UsageError>([&] { write_tensor_file(folder / "a.ckpt", file); }),
                 ".safetensors was expected"));
  file.sections[0].second[0].second.bytes.pop_back();
  CHECK(contains(sentence_of<Error>([&] { write_tensor_file(folder / "a.pt", file); }), "[3, 5, 7] has 419 bytes"));
  file = example();
  file.sections[1].first = "encoder";
  CHECK(contains(sentence_of<Error>([&] { write_tensor_file(folder / "a.pt", file); }), "\"encoder\" is there twice"));
  file = example();
  file.sections[0].second[1].first = "empty";
  CHECK(contains(sentence_of<Error>([&] { write_tensor_file(folder / "a.safetensors", file); }),
                 "\"empty\" is there twice"));
  file = example();
  file.metadata = "\xff";
  CHECK(contains(sentence_of<Error>([&] { write_tensor_file(folder / "a.safetensors", file); }), "invalid UTF-8"));
  CHECK(std::filesystem::is_empty(folder.path()));
}

TEST_CASE("tensor file: half and bfloat16 numbers become the floats they stand for") {
  const auto array = [](FileType type, std::vector<uint16_t> bits) {
    FileArray result{type, {static_cast<int64_t>(bits.size())}, std::vector<std::byte>(2 * bits.size())};
    std::memcpy(result.bytes.data(), bits.data(), result.bytes.size());
    return result.to_float();
  };
  // 1, −2, the largest, the smallest normal, the smallest denormal, −0, infinity (IEEE 754-2019, table 3.5)
  CHECK(array(FileType::f16, {0x3c00, 0xc000, 0x7bff, 0x0400, 0x0001, 0x8000, 0x7c00}) ==
        std::vector<float>{1, -2, 65504, 0x1p-14f, 0x1p-24f, 0, INFINITY});
  CHECK(std::isnan(array(FileType::f16, {0x7e00})[0]));
  CHECK(array(FileType::bf16, {0x3f80, 0xc000, 0xff80}) == std::vector<float>{1, -2, -INFINITY});
}

}  // namespace systole
