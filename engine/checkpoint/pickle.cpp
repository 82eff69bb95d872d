#include "engine/checkpoint/pickle.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <fmt/format.h>
#include <iterator>
#include <unordered_map>

#include "engine/checkpoint/formats.h"
#include "kernels/common/error.h"

namespace systole::pickle {
namespace {

static_assert(std::endian::native == std::endian::little, "pickles and storages are read as little-endian");

constexpr size_t kMaxValues =
    size_t{1} << 21;  // a tensor takes about twenty; keeps a hostile pickle from filling the memory

constexpr std::string_view kOrderedDict = "collections.OrderedDict";
constexpr std::string_view kSize = "torch.Size";
constexpr std::string_view kRebuildTensor = "torch._utils._rebuild_tensor_v2";
constexpr std::string_view kRebuildParameter = "torch._utils._rebuild_parameter";
constexpr std::string_view kFunctions[] = {kOrderedDict, kSize, kRebuildTensor, kRebuildParameter};

constexpr std::pair<std::string_view, FileType> kStorages[] = {
    {"torch.FloatStorage", FileType::f32}, {"torch.DoubleStorage", FileType::f64},
    {"torch.HalfStorage", FileType::f16},  {"torch.BFloat16Storage", FileType::bf16},
    {"torch.LongStorage", FileType::i64},  {"torch.IntStorage", FileType::i32},
    {"torch.ShortStorage", FileType::i16}, {"torch.CharStorage", FileType::i8},
    {"torch.ByteStorage", FileType::u8},   {"torch.BoolStorage", FileType::boolean}};

/// The opcodes that are understood, with their names in CPython's pickle.py.
enum Opcode : uint8_t {
  MARK = '(',
  STOP = '.',
  BINFLOAT = 'G',
  BININT = 'J',
  BININT1 = 'K',
  BININT2 = 'M',
  NONE = 'N',
  BINPERSID = 'Q',
  REDUCE = 'R',
  BINUNICODE = 'X',
  APPEND = 'a',
  BUILD = 'b',
  GLOBAL = 'c',
  APPENDS = 'e',
  BINGET = 'h',
  LONG_BINGET = 'j',
  BINPUT = 'q',
  LONG_BINPUT = 'r',
  SETITEM = 's',
  TUPLE = 't',
  SETITEMS = 'u',
  EMPTY_DICT = '}',
  EMPTY_LIST = ']',
  EMPTY_TUPLE = ')',
  PROTO = 0x80,
  TUPLE1 = 0x85,
  TUPLE2 = 0x86,
  TUPLE3 = 0x87,
  NEWTRUE = 0x88,
  NEWFALSE = 0x89,
  LONG1 = 0x8a,
};

class Machine {
 public:
  Machine(std::string_view bytes, const std::string& file) : bytes_(bytes), file_(file) {}

  Pickle run() {
    for (;;) {
      opcode_at_ = position_;
      const auto opcode = number<uint8_t>();
      if (opcode == STOP) break;
      if (!constant(opcode) && !container(opcode) && !memo(opcode)) construct(opcode);
    }
    result_.root = pop();
    result_.size = position_;
    return std::move(result_);
  }

 private:
  [[noreturn]] void refuse(const std::string& what) const {
    throw Error(fmt::format("{}: {} (byte {} of its pickle)", file_, what, opcode_at_));
  }

  std::string_view take(size_t count) {
    if (count > bytes_.size() - position_)
      refuse(fmt::format("the pickle ends {} bytes too early", count - (bytes_.size() - position_)));
    position_ += count;
    return bytes_.substr(position_ - count, count);
  }

  template <class T>
  T number() {
    T value;
    std::memcpy(&value, take(sizeof(T)).data(), sizeof(T));
    return value;
  }

  std::string_view line() {
    const size_t end = bytes_.find('\n', position_);
    if (end == std::string_view::npos) refuse("the pickle ends inside a name");
    const std::string_view text = take(end - position_);
    ++position_;
    return text;
  }

  template <class T>
  void push(T content) {
    if (result_.values.size() >= kMaxValues) refuse(fmt::format("the pickle holds more than {} values", kMaxValues));
    stack_.push_back(&result_.values.emplace_back(Value{std::move(content)}));
  }

  Value& top() {
    if (stack_.size() <= (marks_.empty() ? 0 : marks_.back())) refuse("the pickle takes a value from an empty stack");
    return *stack_.back();
  }

  Value* pop() {
    Value* value = &top();
    stack_.pop_back();
    return value;
  }

  std::vector<const Value*> pop_last(size_t count) {
    std::vector<const Value*> values(count);
    for (size_t i = count; i-- > 0;) values[i] = pop();
    return values;
  }

  std::vector<const Value*> pop_to_mark() {
    if (marks_.empty()) refuse("the pickle asks for a mark that was never set");
    std::vector<const Value*> values = pop_last(stack_.size() - marks_.back());
    marks_.pop_back();
    return values;
  }

  template <class T, class AnyValue>
  auto& as(AnyValue& value, const char* expected) {
    auto* content = std::get_if<T>(&value.content);
    if (!content) refuse(fmt::format("the pickle has another value where {} was expected", expected));
    return *content;
  }

  /// Opcodes that push a number, a string or the like. False: not one of them.
  bool constant(uint8_t opcode) {
    switch (opcode) {
      case NONE:
        push(None{});
        return true;
      case NEWTRUE:
        push(true);
        return true;
      case NEWFALSE:
        push(false);
        return true;
      case BININT:
        push(int64_t{number<int32_t>()});
        return true;
      case BININT1:
        push(int64_t{number<uint8_t>()});
        return true;
      case BININT2:
        push(int64_t{number<uint16_t>()});
        return true;
      case LONG1:
        push(long_integer());
        return true;
      case BINFLOAT:
        push(big_endian_double());
        return true;
      case BINUNICODE:
        push(take(number<uint32_t>()));
        return true;
      default:
        return false;
    }
  }

  int64_t long_integer() {
    const std::string_view digits = take(number<uint8_t>());
    if (digits.size() > sizeof(int64_t))
      refuse(fmt::format("a whole number has {} bytes, at most 8 were expected", digits.size()));
    int64_t value = !digits.empty() && static_cast<int8_t>(digits.back()) < 0 ? -1 : 0;
    std::memcpy(&value, digits.data(), digits.size());
    return value;
  }

  double big_endian_double() {
    char digits[sizeof(double)];
    std::ranges::reverse_copy(take(sizeof digits), digits);
    return std::bit_cast<double>(digits);
  }

  /// Opcodes for tuples, lists and dictionaries. False: not one of them.
  bool container(uint8_t opcode) {
    switch (opcode) {
      case MARK:
        marks_.push_back(stack_.size());
        return true;
      case EMPTY_TUPLE:
        push(Tuple{});
        return true;
      case TUPLE1:
        push(Tuple{pop_last(1)});
        return true;
      case TUPLE2:
        push(Tuple{pop_last(2)});
        return true;
      case TUPLE3:
        push(Tuple{pop_last(3)});
        return true;
      case TUPLE:
        push(Tuple{pop_to_mark()});
        return true;
      case EMPTY_LIST:
        push(List{});
        return true;
      case APPEND:
        append(pop_last(1));
        return true;
      case APPENDS:
        append(pop_to_mark());
        return true;
      case EMPTY_DICT:
        push(Dictionary{});
        return true;
      case SETITEM:
        set_items(pop_last(2));
        return true;
      case SETITEMS:
        set_items(pop_to_mark());
        return true;
      default:
        return false;
    }
  }

  void append(const std::vector<const Value*>& values) {
    List& list = as<List>(top(), "a list");
    list.items.insert(list.items.end(), values.begin(), values.end());
  }

  void set_items(const std::vector<const Value*>& values) {
    if (values.size() % 2) refuse("the pickle gives a dictionary a key without a value");
    Dictionary& dictionary = as<Dictionary>(top(), "a dictionary");
    for (size_t i = 0; i < values.size(); i += 2) dictionary.items.emplace_back(values[i], values[i + 1]);
  }

  /// Opcodes that remember a value or fetch it again. False: not one of them.
  bool memo(uint8_t opcode) {
    switch (opcode) {
      case BINPUT:
        memo_[number<uint8_t>()] = &top();
        return true;
      case LONG_BINPUT:
        memo_[number<uint32_t>()] = &top();
        return true;
      case BINGET:
        fetch(number<uint8_t>());
        return true;
      case LONG_BINGET:
        fetch(number<uint32_t>());
        return true;
      default:
        return false;
    }
  }

  void fetch(uint32_t index) {
    const auto found = memo_.find(index);
    if (found == memo_.end()) refuse(fmt::format("the pickle fetches value {}, which it never stored", index));
    stack_.push_back(found->second);
  }

  void construct(uint8_t opcode) {
    switch (opcode) {
      case PROTO:
        if (const int version = number<uint8_t>(); version != 2)
          refuse(fmt::format("the pickle has protocol {}, 2 was expected", version));
        return;
      case GLOBAL:
        return global();
      case BINPERSID:
        return storage();
      case REDUCE:
        return reduce();
      case BUILD:
        return build();
      default:
        refuse(fmt::format(
            "the pickle has the opcode 0x{:02x}, which files of tensors do not need and Systole does not execute",
            opcode));
    }
  }

  void global() {
    const std::string_view module = line();
    const std::string name = fmt::format("{}.{}", module, line());
    for (const std::string_view known : kFunctions)
      if (name == known) return push(Global{known});
    for (const auto& [known, type] : kStorages)
      if (name == known) return push(Global{known});
    refuse(
        fmt::format("the pickle asks for {:.80}, and only dictionaries, lists, numbers, strings and tensors are read; "
                    "nothing in a file is executed",
                    name));
  }

  /// ("storage", type, key, location, count), and in the older form a sixth item for views, which is None in any recent
  /// file.
  void storage() {
    const std::vector<const Value*>& items = as<Tuple>(*pop(), "a tuple").items;
    if (items.size() < 5 || items.size() > 6)
      refuse(fmt::format("a storage has {} properties, 5 were expected", items.size()));
    if (as<std::string_view>(*items[0], "the word storage") != "storage") refuse("a persistent value is not a storage");
    const Global& type = as<Global>(*items[1], "the type of a storage");
    const auto known = std::ranges::find(kStorages, type.name, [](const auto& entry) { return entry.first; });
    if (known == std::end(kStorages)) refuse(fmt::format("{} is not the type of a storage", type.name));
    const int64_t count = as<int64_t>(*items[4], "the size of a storage");
    if (count < 0) refuse(fmt::format("a storage has {} elements", count));
    if (items.size() == 6) as<None>(*items[5], "None (views of storages are not read)");
    push(Storage{known->second, as<std::string_view>(*items[2], "the key of a storage"), count});
  }

  void reduce() {
    const std::vector<const Value*>& arguments = as<Tuple>(*pop(), "the arguments of a function").items;
    const std::string_view name = as<Global>(*pop(), "a function").name;
    if (name == kOrderedDict && arguments.empty()) return push(Dictionary{});
    if (name == kSize && arguments.size() == 1) return push(size(*arguments[0]));
    if (name == kRebuildTensor && arguments.size() >= 4) return push(tensor(arguments));
    if (name == kRebuildParameter && !arguments.empty()) return push(as<Tensor>(*arguments[0], "a tensor"));
    refuse(fmt::format("the pickle calls {} with {} arguments, which is not how torch.save builds a tensor", name,
                       arguments.size()));
  }

  /// (storage, offset, shape, strides, requires_grad, hooks …)
  Tensor tensor(const std::vector<const Value*>& arguments) {
    Tensor tensor{&as<Storage>(*arguments[0], "a storage"), as<int64_t>(*arguments[1], "an offset"),
                  integers(*arguments[2]), integers(*arguments[3])};
    if (tensor.shape.size() != tensor.strides.size())
      refuse(fmt::format("a tensor has {} sizes and {} strides", tensor.shape.size(), tensor.strides.size()));
    check_inside(tensor);
    return tensor;
  }

  Tuple size(const Value& value) {
    integers(value);
    return as<Tuple>(value, "a tuple");
  }

  std::vector<int64_t> integers(const Value& value) {
    const std::vector<const Value*>& items = as<Tuple>(value, "a tuple of whole numbers").items;
    if (items.size() > formats::kMaxRank)
      refuse(fmt::format("a tensor has {} dimensions, at most {} were expected", items.size(), formats::kMaxRank));
    std::vector<int64_t> numbers;
    for (const Value* item : items) {
      numbers.push_back(as<int64_t>(*item, "a whole number"));
      if (numbers.back() < 0) refuse(fmt::format("a tensor has the size, stride or offset {}", numbers.back()));
    }
    return numbers;
  }

  /// The last element, offset + Σ (size − 1) · stride, must lie inside the storage. All terms are ≥ 0, so the sum only
  /// grows.
  void check_inside(const Tensor& tensor) {
    bool outside = tensor.offset < 0 || tensor.offset > tensor.storage->count;
    int64_t last = tensor.offset;
    for (size_t d = 0; d < tensor.shape.size() && !outside; ++d) {
      if (tensor.shape[d] == 0) return;  // no element at all
      int64_t step;
      outside = __builtin_mul_overflow(tensor.shape[d] - 1, tensor.strides[d], &step) ||
                __builtin_add_overflow(last, step, &last);
    }
    if (outside || last >= tensor.storage->count)
      refuse(fmt::format("a tensor reaches beyond its storage \"{:.40}\" of {} elements", tensor.storage->key,
                         tensor.storage->count));
  }

  /// A module's state_dict() carries its `_metadata` (version numbers) as an attribute; nothing else may have
  /// attributes.
  void build() {
    const Dictionary& state = as<Dictionary>(*pop(), "a dictionary of attributes");
    as<Dictionary>(top(), "an OrderedDict");
    for (const auto& [key, value] : state.items)
      if (as<std::string_view>(*key, "the name of an attribute") != "_metadata")
        refuse("the pickle sets an attribute other than _metadata");
  }

  std::string_view bytes_;
  const std::string& file_;
  size_t position_ = 0, opcode_at_ = 0;
  Pickle result_;
  std::vector<Value*> stack_;
  std::vector<size_t> marks_;  // heights of the stack
  std::unordered_map<uint32_t, Value*> memo_;
};

}  // namespace

Pickle read(std::string_view bytes, const std::string& file) {
  return Machine(bytes, file).run();
}

}  // namespace systole::pickle
