// Writes PyTorch's zip form: archive/data.pkl with {section: OrderedDict(name: tensor)}, each tensor's bytes as
// archive/data/<key>, and Systole's metadata as archive/extra/systole.json, which torch.load does not look at. Members
// are stored uncompressed and begin at multiples of 64 bytes, so that PyTorch can map the file; all time stamps are the
// same, so equal content gives equal bytes. Source: torch/serialization.py and caffe2/serialize/inline_container.cc.

#include <array>
#include <cstring>
#include <fmt/format.h>
#include <limits>
#include <memory>
#include <zip.h>

#include "engine/checkpoint/formats.h"
#include "kernels/common/error.h"

namespace systole::formats {
namespace {

constexpr size_t kAlignment = 64;
constexpr size_t kLocalHeader = 30;        // APPNOTE.TXT 4.3.7, before the name
constexpr size_t kExtraHeader = 4;         // identifier and length of an extra field
constexpr zip_uint16_t kPadding = 0x4246;  // "FB", the identifier that PyTorch pads with
constexpr zip_uint16_t kFirstOfJanuary1980 = 1 << 5 | 1;

const char* storage_class(FileType type) {
  switch (type) {
    case FileType::f64:
      return "DoubleStorage";
    case FileType::f32:
      return "FloatStorage";
    case FileType::f16:
      return "HalfStorage";
    case FileType::bf16:
      return "BFloat16Storage";
    case FileType::i64:
      return "LongStorage";
    case FileType::i32:
      return "IntStorage";
    case FileType::i16:
      return "ShortStorage";
    case FileType::i8:
      return "CharStorage";
    case FileType::u8:
      return "ByteStorage";
    case FileType::boolean:
      return "BoolStorage";
  }
  return "";
}

/// Writes a pickle of protocol 2 with the opcodes that torch.load(weights_only=True) knows (pickletools.py names them).
class PickleWriter {
 public:
  PickleWriter() : bytes_("\x80\x02") {}

  std::string finish() { return bytes_ + '.'; }

  void begin_dictionary() { bytes_ += "}("; }
  void begin_ordered_dictionary() { bytes_ += "ccollections\nOrderedDict\n)R("; }
  void end_dictionary() { bytes_ += 'u'; }

  void text(std::string_view text) {
    bytes_ += 'X';
    raw(static_cast<uint32_t>(text.size()));
    bytes_ += text;
  }

  void tensor(const FileArray& array, size_t key) {
    bytes_ += "ctorch._utils\n_rebuild_tensor_v2\n((";
    text("storage");
    bytes_ += fmt::format("ctorch\n{}\n", storage_class(array.type));
    text(std::to_string(key));
    text("cpu");
    integer(array.count());
    bytes_ += "tQ";  // the tuple of a storage, as a persistent value
    integer(0);      // offset
    shape_and_strides(array.shape);
    bytes_ +=
        "\x89"
        "ccollections\nOrderedDict\n)RtR";  // requires_grad = False, no hooks; build the tensor
  }

 private:
  template <class T>
  void raw(T value) {
    char bytes[sizeof(T)];
    std::memcpy(bytes, &value, sizeof(T));
    bytes_.append(bytes, sizeof(T));
  }

  void integer(int64_t value) {
    if (value <= std::numeric_limits<int32_t>::max()) {
      bytes_ += 'J';
      raw(static_cast<int32_t>(value));
    } else {
      bytes_ += "\x8a\x08";
      raw(value);
    }
  }

  void shape_and_strides(const std::vector<int64_t>& shape) {
    std::vector<int64_t> strides(shape.size(), 1);
    for (size_t d = shape.size(); d-- > 1;) strides[d - 1] = strides[d] * std::max<int64_t>(shape[d], 1);
    for (const std::vector<int64_t>& tuple : {shape, strides}) {
      bytes_ += '(';
      for (int64_t value : tuple) integer(value);
      bytes_ += 't';
    }
  }

  std::string bytes_;
};

std::string pickle_of(const TensorFile& file) {
  PickleWriter pickle;
  pickle.begin_dictionary();
  size_t key = 0;
  for (const auto& [section, arrays] : file.sections) {
    const bool nested = !section.empty();
    if (nested) {
      pickle.text(section);
      pickle.begin_ordered_dictionary();
    }
    for (const auto& [name, array] : arrays) {
      pickle.text(name);
      pickle.tensor(array, key++);
    }
    if (nested) pickle.end_dictionary();
  }
  pickle.end_dictionary();
  return pickle.finish();
}

/// A zip archive that is built in memory. The bytes of the members must live until finish().
class ArchiveWriter {
 public:
  ArchiveWriter() {
    zip_error_t error;
    zip_error_init(&error);
    source_.reset(zip_source_buffer_create(nullptr, 0, 0, &error));
    if (source_) zip_.reset(zip_open_from_source(source_.get(), ZIP_TRUNCATE, &error));
    zip_error_fini(&error);
    if (!zip_) throw Error("libzip cannot begin an archive in memory");
    zip_source_keep(source_.get());
  }

  void add(const std::string& name, const void* bytes, size_t size) {
    zip_source_t* member = zip_source_buffer(zip_.get(), bytes, size, 0);
    const zip_int64_t added = member ? zip_file_add(zip_.get(), name.c_str(), member, 0) : -1;
    if (added < 0) {
      zip_source_free(member);
      fail();
    }
    const auto index = static_cast<zip_uint64_t>(added);
    const std::string padding = next_padding(name, size);
    const auto* pad = reinterpret_cast<const zip_uint8_t*>(padding.data());
    if (zip_set_file_compression(zip_.get(), index, ZIP_CM_STORE, 0) != 0 ||
        zip_file_set_dostime(zip_.get(), index, 0, kFirstOfJanuary1980, 0) != 0 ||
        zip_file_extra_field_set(zip_.get(), index, kPadding, ZIP_EXTRA_FIELD_NEW, pad,
                                 static_cast<zip_uint16_t>(padding.size()), ZIP_FL_LOCAL) != 0)
      fail();
  }

  void finish(std::ostream& stream) {
    if (zip_close(zip_.get()) != 0) fail();
    zip_.release();  // NOLINT: zip_close has freed it
    if (zip_source_open(source_.get()) != 0) throw Error("libzip cannot read its archive back from memory");
    std::array<char, 1 << 16> block;
    zip_int64_t got;
    while ((got = zip_source_read(source_.get(), block.data(), block.size())) > 0) stream.write(block.data(), got);
    zip_source_close(source_.get());
    if (got < 0) throw Error("libzip cannot read its archive back from memory");
  }

 private:
  [[noreturn]] void fail() { throw Error(fmt::format("libzip cannot write an archive: {}", zip_strerror(zip_.get()))); }

  /// What lets the member's bytes begin at a multiple of kAlignment.
  std::string next_padding(const std::string& name, size_t size) {
    const size_t begin = offset_ + kLocalHeader + name.size() + kExtraHeader;
    const size_t padding = (kAlignment - begin % kAlignment) % kAlignment;
    offset_ = begin + padding + size;
    return std::string(padding, 'Z');
  }

  std::unique_ptr<zip_source_t, decltype(&zip_source_free)> source_{nullptr, &zip_source_free};
  std::unique_ptr<zip_t, decltype(&zip_discard)> zip_{nullptr, &zip_discard};
  size_t offset_ = 0;
};

}  // namespace

void write_pytorch_zip(std::ostream& stream, const TensorFile& file) {
  const std::string pickle = pickle_of(file);
  const std::string byteorder = "little", version = "3\n";
  ArchiveWriter archive;
  archive.add("archive/data.pkl", pickle.data(), pickle.size());
  archive.add("archive/byteorder", byteorder.data(), byteorder.size());
  size_t key = 0;
  for (const auto& [section, arrays] : file.sections)
    for (const auto& [name, array] : arrays)
      archive.add(fmt::format("archive/data/{}", key++), array.bytes.data(), array.bytes.size());
  archive.add("archive/version", version.data(), version.size());
  if (!file.metadata.empty()) archive.add("archive/extra/systole.json", file.metadata.data(), file.metadata.size());
  archive.finish(stream);
}

}  // namespace systole::formats
