// Python's pickle, protocol 2, as far as torch.save writes it for tensors. A pickle is a program for a small stack
// machine (Lib/pickletools.py of CPython describes it), and Python's own machine lets it call any function. This one
// has only the opcodes that build dictionaries, lists, numbers and strings, and knows the few names from which tensors
// are made; anything else is refused, so a file can ask for nothing that is not listed in pickle.cpp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "engine/checkpoint/tensor_file.h"

namespace systole::pickle {

struct Value;

struct None {};
struct List {
  std::vector<const Value*> items;
};
struct Tuple {
  std::vector<const Value*> items;
};
struct Dictionary {
  std::vector<std::pair<const Value*, const Value*>> items;
};
/// A name of the allow-list, as "module.name".
struct Global {
  std::string_view name;
};
/// Bytes that stand elsewhere in the file, found by their key.
struct Storage {
  FileType type;
  std::string_view key;
  int64_t count;
};
/// A view of a storage; offset and strides count elements, and every element lies inside the storage.
struct Tensor {
  const Storage* storage;
  int64_t offset;
  std::vector<int64_t> shape, strides;
};

struct Value {
  std::variant<None, bool, int64_t, double, std::string_view, List, Tuple, Dictionary, Global, Storage, Tensor> content;

  template <class T>
  const T* get() const {
    return std::get_if<T>(&content);
  }
};

/// What one pickle built. Values refer to each other and to the bytes that were read, which must outlive them.
struct Pickle {
  std::deque<Value> values;
  const Value* root = nullptr;
  size_t size = 0;  // bytes of the pickle, its STOP included

  Pickle() = default;
  Pickle(Pickle&&) = default;
  Pickle& operator=(Pickle&&) = delete;
};

/// Reads the pickle that `bytes` begins with. Throws Error, a sentence with the name of the file, what is wrong and
/// where.
Pickle read(std::string_view bytes, const std::string& file);

}  // namespace systole::pickle
