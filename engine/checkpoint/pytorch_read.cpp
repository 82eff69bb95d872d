// Reads what torch.save writes: since PyTorch 1.6 a zip archive (data.pkl, and each storage as data/<key>,
// uncompressed), before that a stream (magic number, protocol, properties of the machine, the object, the keys of its
// storages, then the storages). Source: torch/serialization.py.

#include <algorithm>
#include <cstring>
#include <fmt/format.h>
#include <map>
#include <memory>
#include <set>
#include <zip.h>

#include "engine/checkpoint/formats.h"
#include "engine/checkpoint/pickle.h"
#include "kernels/common/error.h"

namespace systole::formats {
namespace {

using StorageBytes = std::map<std::string_view, std::string_view>;  // by key

constexpr std::string_view kZipMagic("PK\3\4", 4);
// The pickles of 0x1950a86a20f9469cfc6c and of the protocol 1001.
constexpr std::string_view kStreamMagic("\x80\x02\x8a\nl\xfc\x9c\x46\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.", 21);

// Views may repeat a storage's values (stride 0, shared storages). Files of networks do so a few times at most; a
// hostile one could ask for terabytes.
constexpr int64_t kMaxExpansion = 16;
// What an entry takes beside values and name. One dictionary of empty tensors can be a million sections: references to
// it cost three bytes each.
constexpr int64_t kEntryBytes = 128;

bool is_contiguous(const pickle::Tensor& tensor) {
  int64_t expected = 1;
  for (size_t d = tensor.shape.size(); d-- > 0;) {
    if (tensor.shape[d] != 1 && tensor.strides[d] != expected) return false;
    expected *= tensor.shape[d];
  }
  return true;
}

/// Copies the elements of a strided view in row-major order.
void gather(const pickle::Tensor& tensor, const char* source, size_t element, std::byte* target, size_t count) {
  std::vector<int64_t> index(tensor.shape.size(), 0);
  int64_t at = 0;
  for (size_t i = 0; i < count; ++i) {
    std::memcpy(target + i * element, source + static_cast<size_t>(at) * element, element);
    for (size_t d = index.size(); d-- > 0;) {
      if (index[d] + 1 < tensor.shape[d]) {  // asked first: the stride of a size of 1 can be any number
        ++index[d];
        at += tensor.strides[d];
        break;
      }
      at -= tensor.strides[d] * index[d];
      index[d] = 0;
    }
  }
}

/// Turns the object of a file into sections.
class Sections {
 public:
  Sections(const StorageBytes& storages, size_t file_size, const std::string& name)
      : storages_(storages), budget_(kMaxExpansion * static_cast<int64_t>(file_size)), name_(name) {}

  TensorFile build(const pickle::Value& root) {
    const auto* top = root.get<pickle::Dictionary>();
    if (!top) throw Error(fmt::format("{}: the file does not hold a dictionary of tensors", name_));
    TensorFile file;
    std::set<std::string_view> seen;
    if (NamedArrays loose = tensors_of(*top, ""); !loose.empty()) file.sections.emplace_back("", std::move(loose));
    for (const auto& [key, value] : top->items) {
      const auto* section = key->get<std::string_view>();
      const auto* entries = value->get<pickle::Dictionary>();
      if (!section || !entries) continue;
      if (!seen.insert(*section).second) throw Error(fmt::format("{}: the section {} is there twice", name_, *section));
      charge(kEntryBytes + static_cast<int64_t>(section->size()), *section);
      NamedArrays arrays = tensors_of(*entries, *section);
      if (!arrays.empty() || entries->items.empty()) file.sections.emplace_back(*section, std::move(arrays));
    }
    if (file.sections.empty()) throw Error(fmt::format("{}: the file holds no tensors", name_));
    return file;
  }

 private:
  NamedArrays tensors_of(const pickle::Dictionary& dictionary, std::string_view section) {
    NamedArrays arrays;
    std::set<std::string_view> seen;
    for (const auto& [key, value] : dictionary.items) {
      const auto* entry = key->get<std::string_view>();
      const auto* tensor = value->get<pickle::Tensor>();
      if (!entry || !tensor) continue;
      if (!seen.insert(*entry).second)
        throw Error(fmt::format("{}: the tensor {} {} is there twice", name_, section, *entry));
      arrays.emplace_back(*entry, array(*tensor, *entry));
    }
    return arrays;
  }

  FileArray array(const pickle::Tensor& tensor, std::string_view entry) {
    const std::string_view storage = storages_.at(tensor.storage->key);
    FileArray array{tensor.storage->type, tensor.shape, {}};
    const int64_t size = byte_count(array.type, array.shape).value_or(budget_ + 1);
    charge(size, entry);
    charge(kEntryBytes + static_cast<int64_t>(entry.size()), entry);
    array.bytes.resize(static_cast<size_t>(size));
    if (size == 0) return array;
    const size_t element = byte_size(array.type);
    const char* source = storage.data() + static_cast<size_t>(tensor.offset) * element;
    if (is_contiguous(tensor))
      std::memcpy(array.bytes.data(), source, array.bytes.size());
    else
      gather(tensor, source, element, array.bytes.data(), array.bytes.size() / element);
    return array;
  }

  /// Takes bytes from what the content of the file may need in memory.
  void charge(int64_t bytes, std::string_view entry) {
    if (bytes > budget_)
      throw Error(fmt::format("{}: with {:.80} the file would grow to more than {} times its size", name_, entry,
                              kMaxExpansion));
    budget_ -= bytes;
  }

  const StorageBytes& storages_;
  int64_t budget_;
  const std::string& name_;
};

/// The storages that a pickle names, each once.
std::vector<pickle::Storage> storages_of(const pickle::Pickle& object, const std::string& name) {
  std::map<std::string_view, pickle::Storage> found;
  for (const pickle::Value& value : object.values) {
    const auto* storage = value.get<pickle::Storage>();
    if (!storage) continue;
    const auto [at, is_new] = found.try_emplace(storage->key, *storage);
    if (!is_new && (at->second.type != storage->type || at->second.count != storage->count))
      throw Error(fmt::format("{}: the storage {:.40} has two types or sizes", name, storage->key));
  }
  std::vector<pickle::Storage> storages;
  storages.reserve(found.size());
  for (const auto& [key, storage] : found) storages.push_back(storage);
  return storages;
}

int64_t storage_size(const pickle::Storage& storage, const std::string& name) {
  const std::optional<int64_t> size = byte_count(storage.type, {storage.count});
  if (!size) throw Error(fmt::format("{}: the storage {:.40} has {} elements", name, storage.key, storage.count));
  return *size;
}

/// The members of a zip archive in memory. They must be stored as they are: PyTorch never compresses, and so none can
/// be larger than the file.
class Archive {
 public:
  Archive(std::string_view file, const std::string& name) : name_(name), left_(file.size()) {
    zip_error_t error;
    zip_error_init(&error);
    zip_source_t* source = zip_source_buffer_create(file.data(), file.size(), 0, &error);
    if (source) zip_.reset(zip_open_from_source(source, ZIP_RDONLY, &error));
    const std::string reason = zip_error_strerror(&error);
    zip_error_fini(&error);
    if (zip_) return;
    zip_source_free(source);
    throw Error(fmt::format("{}: the zip archive cannot be read: {}", name_, reason));
  }

  /// What stands before "data.pkl": the archive's own name.
  std::string prefix() const {
    for (zip_int64_t i = 0; i < zip_get_num_entries(zip_.get(), 0); ++i) {
      const char* text = zip_get_name(zip_.get(), static_cast<zip_uint64_t>(i), ZIP_FL_ENC_RAW);
      const std::string member = text ? text : "";
      const size_t slash = member.find('/');
      if (slash != std::string::npos && member.substr(slash) == "/data.pkl") return member.substr(0, slash + 1);
    }
    throw Error(fmt::format("{}: the zip archive has no data.pkl, so torch.save did not write it", name_));
  }

  bool has(const std::string& member) const { return zip_name_locate(zip_.get(), member.c_str(), ZIP_FL_ENC_RAW) >= 0; }

  std::string read(const std::string& member) {
    zip_stat_t stat;
    if (zip_stat(zip_.get(), member.c_str(), ZIP_FL_ENC_RAW, &stat) != 0) fail(member, zip_strerror(zip_.get()));
    if (stat.comp_method != ZIP_CM_STORE || stat.encryption_method != ZIP_EM_NONE)
      fail(member, "it is compressed or encrypted");
    if (stat.size > left_) fail(member, "with it the members are larger than the file");
    left_ -= stat.size;
    const std::unique_ptr<zip_file_t, decltype(&zip_fclose)> handle(zip_fopen_index(zip_.get(), stat.index, 0),
                                                                    &zip_fclose);
    if (!handle) fail(member, zip_strerror(zip_.get()));
    std::string bytes(stat.size + 1, '\0');  // one byte more: libzip compares the checksum when it meets the end
    size_t done = 0;
    zip_int64_t got;
    while ((got = zip_fread(handle.get(), bytes.data() + done, bytes.size() - done)) > 0)
      done += static_cast<size_t>(got);
    if (got < 0) fail(member, zip_file_strerror(handle.get()));
    if (done != stat.size) fail(member, "it is cut off");
    bytes.resize(done);
    return bytes;
  }

 private:
  [[noreturn]] void fail(const std::string& member, const char* reason) const {
    throw Error(fmt::format("{}: the member {:.80} cannot be read: {}", name_, member, reason));
  }

  const std::string& name_;
  uint64_t left_;
  std::unique_ptr<zip_t, decltype(&zip_discard)> zip_{nullptr, &zip_discard};
};

/// Steps over the small pickle that `rest` begins with.
pickle::Pickle next_pickle(std::string_view& rest, const std::string& name) {
  pickle::Pickle result = pickle::read(rest, name);
  rest.remove_prefix(result.size);
  return result;
}

void check_little_endian(const pickle::Value& machine, const std::string& name) {
  const auto* properties = machine.get<pickle::Dictionary>();
  for (const auto& [key, value] : properties ? properties->items : decltype(properties->items){}) {
    const auto* entry = key->get<std::string_view>();
    const auto* flag = value->get<bool>();
    if (entry && *entry == "little_endian" && flag && !*flag)
      throw Error(fmt::format("{}: the file is big-endian, little-endian was expected", name));
  }
}

/// The storages behind the last pickle: for each key in `keys` its count as int64, then its bytes.
StorageBytes stream_storages(std::string_view rest, const pickle::Value& keys,
                             const std::vector<pickle::Storage>& expected, const std::string& name) {
  StorageBytes storages;
  const auto* list = keys.get<pickle::List>();
  for (const pickle::Value* item : list ? list->items : decltype(list->items){}) {
    const auto* key = item->get<std::string_view>();
    const auto storage = key ? std::ranges::find(expected, *key, &pickle::Storage::key) : expected.end();
    if (storage == expected.end())
      throw Error(fmt::format("{}: the file lists a storage that its object does not use", name));
    const auto size = static_cast<size_t>(storage_size(*storage, name));
    int64_t count = -1;
    if (rest.size() >= sizeof count) std::memcpy(&count, rest.data(), sizeof count);
    if (count != storage->count || size > rest.size() - sizeof count)
      throw Error(fmt::format("{}: the storage {:.40} of {} elements is cut off or has another size", name, *key,
                              storage->count));
    storages[*key] = rest.substr(sizeof count, size);
    rest.remove_prefix(sizeof count + size);
  }
  for (const pickle::Storage& storage : expected)
    if (!storages.contains(storage.key))
      throw Error(fmt::format("{}: the storage {:.40} is not in the file", name, storage.key));
  return storages;
}

}  // namespace

bool is_pytorch_zip(std::string_view file) {
  return file.starts_with(kZipMagic);
}

bool is_pytorch_stream(std::string_view file) {
  return file.starts_with(kStreamMagic);
}

TensorFile read_pytorch_zip(std::string_view file, const std::string& name) {
  Archive archive(file, name);
  const std::string prefix = archive.prefix();
  if (archive.has(prefix + "byteorder") && archive.read(prefix + "byteorder") != "little")
    throw Error(fmt::format("{}: the file is big-endian, little-endian was expected", name));
  const std::string program = archive.read(prefix + "data.pkl");
  const pickle::Pickle object = pickle::read(program, name);

  std::map<std::string_view, std::string> members;
  StorageBytes storages;
  for (const pickle::Storage& storage : storages_of(object, name)) {
    std::string& bytes = members[storage.key];
    bytes = archive.read(prefix + "data/" + std::string(storage.key));
    if (static_cast<int64_t>(bytes.size()) != storage_size(storage, name))
      throw Error(fmt::format("{}: the storage {:.40} has {} bytes, {} were expected", name, storage.key, bytes.size(),
                              storage_size(storage, name)));
    storages[storage.key] = bytes;
  }
  TensorFile result = Sections(storages, file.size(), name).build(*object.root);
  if (const std::string member = prefix + "extra/systole.json"; archive.has(member))
    result.metadata = archive.read(member);
  return result;
}

TensorFile read_pytorch_stream(std::string_view file, const std::string& name) {
  std::string_view rest = file.substr(kStreamMagic.size());
  check_little_endian(*next_pickle(rest, name).root, name);
  const pickle::Pickle object = next_pickle(rest, name);
  const pickle::Pickle keys = next_pickle(rest, name);
  const StorageBytes storages = stream_storages(rest, *keys.root, storages_of(object, name), name);
  return Sections(storages, file.size(), name).build(*object.root);
}

}  // namespace systole::formats
