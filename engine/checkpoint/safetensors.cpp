// safetensors: the length of a header (uint64), the header as JSON {"name": {"dtype", "shape", "data_offsets"}, …},
// then the bytes of the tensors without gaps. Source: github.com/huggingface/safetensors, README, "Format".
// `__metadata__` maps text to text; "systole" is the file's metadata, "systole_sections" the list of its sections.

#include <algorithm>
#include <cstring>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "engine/checkpoint/formats.h"
#include "kernels/common/error.h"
#include "kernels/common/strict_json.h"

namespace systole::formats {
namespace {

using nlohmann::json;

constexpr size_t kLength = sizeof(uint64_t);
constexpr uint64_t kMaxHeader = 100'000'000;  // the limit of the format
constexpr int kMaxDepth = 3;                  // header, tensor, shape
constexpr size_t kMaxSections = 256;          // a file of a network has one or two
constexpr const char* kMetadata = "__metadata__";

constexpr std::pair<const char*, FileType> kTypes[] = {
    {"F64", FileType::f64}, {"F32", FileType::f32},     {"F16", FileType::f16}, {"BF16", FileType::bf16},
    {"I64", FileType::i64}, {"I32", FileType::i32},     {"I16", FileType::i16}, {"I8", FileType::i8},
    {"U8", FileType::u8},   {"BOOL", FileType::boolean}};

uint64_t header_length(std::string_view file) {
  uint64_t length;
  std::memcpy(&length, file.data(), kLength);
  return length;
}

json parse_header(std::string_view file, const std::string& name) {
  const uint64_t length = header_length(file);
  if (length > kMaxHeader || length > file.size() - kLength)
    throw Error(fmt::format("{}: the header should have {} bytes, and the file has {}", name, length, file.size()));
  try {
    json header = parse_strict_json<json>(file.substr(kLength, length), kMaxDepth);
    if (header.is_object()) return header;
  } catch (const json::exception& error) {
    throw Error(fmt::format("{}: the header is not JSON: {}", name, error.what()));
  } catch (const Error& error) {
    throw Error(fmt::format("{}: the header is refused: {}", name, error.what()));
  }
  throw Error(fmt::format("{}: the header is not a JSON object", name));
}

struct Entry {
  std::string name;
  FileArray array;
  int64_t begin, end;
};

Entry parse_entry(const std::string& tensor, const json& entry, const std::string& name) {
  const auto refuse = [&](const char* reason) {
    throw Error(fmt::format("{}: the entry of the tensor {} is not as it must be: {}", name, tensor, reason));
  };
  std::string dtype;
  std::vector<int64_t> shape, offsets;
  try {
    dtype = entry.at("dtype").get<std::string>();
    shape = whole_numbers<int64_t>(entry.at("shape"));
    offsets = whole_numbers<int64_t>(entry.at("data_offsets"));
  } catch (const json::exception& error) {
    refuse(error.what());
  } catch (const Error& error) {
    refuse(error.what());
  }
  if (offsets.size() != 2) refuse("data_offsets are two numbers");
  const auto type = std::ranges::find(kTypes, dtype, [](const auto& known) { return known.first; });
  if (type == std::end(kTypes))
    throw Error(fmt::format("{}: the tensor {} has the unknown type {}", name, tensor, dtype));
  if (shape.size() > kMaxRank)
    throw Error(fmt::format("{}: the tensor {} has {} dimensions, at most {} were expected", name, tensor, shape.size(),
                            kMaxRank));
  const std::optional<int64_t> size = byte_count(type->second, shape);
  if (!size || offsets[0] < 0 || offsets[1] < offsets[0] || offsets[1] - offsets[0] != *size)
    throw Error(fmt::format("{}: the tensor {} has a shape that does not fit its {} … {} bytes", name, tensor,
                            offsets[0], offsets[1]));
  return {tensor, {type->second, std::move(shape), {}}, offsets[0], offsets[1]};
}

/// The entries in the order of their bytes, which must follow each other without gap or overlap.
std::vector<Entry> parse_entries(const json& header, int64_t data_size, const std::string& name) {
  std::vector<Entry> entries;
  for (const auto& [tensor, entry] : header.items())
    if (tensor != kMetadata) entries.push_back(parse_entry(tensor, entry, name));
  std::ranges::sort(entries, {}, [](const Entry& e) { return std::pair(e.begin, e.end); });
  int64_t end = 0;
  for (const Entry& entry : entries) {
    if (entry.begin != end)
      throw Error(
          fmt::format("{}: the tensor {} begins at byte {}, {} was expected", name, entry.name, entry.begin, end));
    end = entry.end;
  }
  if (end != data_size)
    throw Error(fmt::format("{}: the tensors should have {} bytes, and the file has {}", name, end, data_size));
  return entries;
}

std::string metadata_text(const json& header, const char* key) {
  const auto metadata = header.find(kMetadata);
  if (metadata == header.end() || !metadata->is_object()) return {};
  const auto text = metadata->find(key);
  return text != metadata->end() && text->is_string() ? text->get<std::string>() : std::string();
}

/// The sections of a file. One that another program wrote has no list of them: "encoder" or "model" if every name
/// begins so, else a plain state dict, the section "".
std::vector<std::string> section_names(const json& header, const std::vector<Entry>& entries, const std::string& name) {
  const json list = json::parse(metadata_text(header, "systole_sections"), nullptr, false);
  std::vector<std::string> names;
  if (list.is_array())  // read in place: a copy of deeply nested lists would exhaust the stack
    for (const json& item : list)
      if (item.is_string()) names.push_back(item.get<std::string>());
  if (names.size() > kMaxSections)
    throw Error(
        fmt::format("{}: the file has {} sections, at most {} were expected", name, names.size(), kMaxSections));
  if (!names.empty()) return names;
  if (entries.empty()) throw Error(fmt::format("{}: the file holds no tensors", name));
  for (const char* section : {"encoder", "model"})
    if (std::ranges::all_of(entries, [&](const Entry& e) { return e.name.starts_with(std::string(section) + "."); }))
      return {section};
  return {""};
}

std::string full_name(const std::string& section, const std::string& name) {
  return section.empty() ? name : section + "." + name;
}

struct Tensor {
  std::string name;
  const FileArray* array;
};

/// All tensors, those of large elements first: then each begins at a multiple of its element's size.
std::vector<Tensor> aligned_order(const TensorFile& file) {
  std::vector<Tensor> tensors;
  for (const auto& [section, arrays] : file.sections)
    for (const auto& [name, array] : arrays) tensors.push_back({full_name(section, name), &array});
  std::ranges::stable_sort(tensors, std::ranges::greater(), [](const Tensor& t) { return byte_size(t.array->type); });
  return tensors;
}

std::string dumped(const json& content) {
  try {
    return content.dump();
  } catch (const json::exception& error) {  // a name or the metadata is not UTF-8
    throw Error(fmt::format("the header of a safetensors file cannot be written: {}", error.what()));
  }
}

std::string header_of(const TensorFile& file, const std::vector<Tensor>& tensors) {
  json sections = json::array();
  for (const auto& [section, arrays] : file.sections) sections.push_back(section);
  json header;
  header[kMetadata] = {{"format", "pt"}, {"systole_sections", dumped(sections)}};
  if (!file.metadata.empty()) header[kMetadata]["systole"] = file.metadata;
  size_t offset = 0;
  for (const auto& [name, array] : tensors) {
    const auto type = std::ranges::find(kTypes, array->type, [](const auto& known) { return known.second; });
    const size_t end = offset + array->bytes.size();
    header[name] = {{"dtype", type->first}, {"shape", array->shape}, {"data_offsets", {offset, end}}};
    offset = end;
  }
  std::string text = dumped(header);
  text.resize((text.size() + kLength - 1) / kLength * kLength, ' ');
  return text;
}

}  // namespace

bool is_safetensors(std::string_view file) {
  return file.size() > kLength && file[kLength] == '{';
}

TensorFile read_safetensors(std::string_view file, const std::string& name) {
  const json header = parse_header(file, name);
  const std::string_view data = file.substr(kLength + header_length(file));
  std::vector<Entry> entries = parse_entries(header, static_cast<int64_t>(data.size()), name);

  TensorFile result;
  result.metadata = metadata_text(header, "systole");
  for (const std::string& section : section_names(header, entries, name))
    result.sections.emplace_back(section, NamedArrays());
  for (Entry& entry : entries) {
    const auto home = std::ranges::find_if(
        result.sections, [&](const auto& section) { return entry.name.starts_with(full_name(section.first, "")); });
    if (home == result.sections.end())
      throw Error(fmt::format("{}: the tensor {} is in none of the file's sections", name, entry.name));
    const auto* begin = reinterpret_cast<const std::byte*>(data.data());
    entry.array.bytes.assign(begin + entry.begin, begin + entry.end);
    home->second.emplace_back(entry.name.substr(full_name(home->first, "").size()), std::move(entry.array));
  }
  return result;
}

void write_safetensors(std::ostream& stream, const TensorFile& file) {
  const std::vector<Tensor> tensors = aligned_order(file);
  const std::string header = header_of(file, tensors);
  const uint64_t length = header.size();
  stream.write(reinterpret_cast<const char*>(&length), kLength);
  stream.write(header.data(), static_cast<std::streamsize>(header.size()));
  for (const Tensor& tensor : tensors)
    stream.write(reinterpret_cast<const char*>(tensor.array->bytes.data()),
                 static_cast<std::streamsize>(tensor.array->bytes.size()));
}

}  // namespace systole::formats
