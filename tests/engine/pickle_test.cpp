#include "engine/checkpoint/pickle.h"

#include "kernels/common/error.h"
#include "tests/support.h"

namespace systole::pickle {
namespace {

using namespace std::string_literals;

std::string program(const std::string& opcodes) {
  return "\x80\x02" + opcodes + ".";
}

std::string refusal(const std::string& bytes) {
  return test::sentence_of<Error>([&] { read(bytes, "x.pt"); });
}

void check_refused(const std::string& bytes, const std::string& words) {
  const std::string sentence = refusal(bytes);
  CHECK_MESSAGE(sentence.find(words) != std::string::npos, (words + "\n" + sentence));
}

int64_t integer(const std::string& opcodes) {
  const std::string bytes = program(opcodes);
  const Pickle pickle = read(bytes, "x.pt");
  REQUIRE(pickle.root->get<int64_t>());
  return *pickle.root->get<int64_t>();
}

constexpr std::string_view kAllowed = "\x80.(GJKMNQRXabcehjqrstu}])\x85\x86\x87\x88\x89\x8a";

}  // namespace

TEST_CASE("pickle: whole numbers of every width keep their sign") {
  CHECK(integer("K\xff") == 255);
  CHECK(integer("M\xff\xff") == 65535);
  CHECK(integer("J\xfe\xff\xff\xff") == -2);
  CHECK(integer("\x8a\0"s) == 0);
  CHECK(integer("\x8a\x01\xfd") == -3);
  CHECK(integer("\x8a\5\0\0\0\0\1"s) == int64_t{1} << 32);
  CHECK(refusal(program(std::string("\x8a\x09") + std::string(9, '\1'))).find("has 9 bytes, at most 8") !=
        std::string::npos);
}

TEST_CASE("pickle: containers are built in order, and one value can stand in several places") {
  const std::string bytes = program("](}q\x05X\1\0\0\0aG\x3f\xf8\0\0\0\0\0\0sh\x05\x88N\x86"s + "e");
  const std::string longer = bytes + "rest";
  const Pickle pickle = read(longer, "x.pt");
  CHECK(pickle.size == bytes.size());
  const List* list = pickle.root->get<List>();
  REQUIRE(list);
  REQUIRE(list->items.size() == 3);
  CHECK(list->items[0] == list->items[1]);
  const Dictionary* dictionary = list->items[0]->get<Dictionary>();
  REQUIRE(dictionary);
  REQUIRE(dictionary->items.size() == 1);
  CHECK(*dictionary->items[0].first->get<std::string_view>() == "a");
  CHECK(*dictionary->items[0].second->get<double>() == 1.5);
  CHECK(list->items[2]->get<Tuple>()->items.size() == 2);
}

TEST_CASE("pickle: a list that contains itself is no trap") {
  const std::string bytes = program("]q\0h\0a"s);
  const Pickle pickle = read(bytes, "x.pt");
  CHECK(pickle.root->get<List>()->items[0] == pickle.root);
}

TEST_CASE("pickle: a hundred thousand nested tuples are read without recursion") {
  std::string opcodes = "N";
  for (int i = 0; i < 100'000; ++i) opcodes += '\x85';
  const std::string bytes = program(opcodes);
  CHECK(read(bytes, "x.pt").root->get<Tuple>());
}

TEST_CASE("pickle: every other opcode is refused by its number") {
  for (int opcode = 0; opcode < 256; ++opcode) {
    if (kAllowed.find(static_cast<char>(opcode)) != std::string_view::npos) continue;
    const std::string sentence = refusal(program(std::string("N") + static_cast<char>(opcode) + std::string(40, '\n')));
    CHECK_MESSAGE(sentence.find(fmt::format("opcode 0x{:02x}", opcode)) != std::string::npos, sentence);
    CHECK(sentence.starts_with("x.pt: "));
  }
}

TEST_CASE("pickle: a name is refused where it is named, called or not") {
  for (const char* name :
       {"os\nsystem", "builtins\neval", "torch\nload", "torch._utils\n_rebuild_tensor", "collections\ndefaultdict",
        "numpy.core.multiarray\nscalar", "torch\nFloatStorage.__init__", "\n"}) {
    const std::string sentence = refusal(program("c" + std::string(name) + "\n"));
    CHECK_MESSAGE(sentence.find("the pickle asks for") != std::string::npos, sentence);
  }
}

TEST_CASE("pickle: known names cannot be called in another way than torch.save does") {
  const std::string ordered = "ccollections\nOrderedDict\n";
  CHECK(refusal(program(ordered + "]\x85R")).find("calls collections.OrderedDict with 1 arguments") !=
        std::string::npos);
  CHECK(refusal(program("ctorch\nFloatStorage\n)R")).find("calls torch.FloatStorage") != std::string::npos);
  CHECK(refusal(program("ctorch._utils\n_rebuild_parameter\nN\x85R")).find("where a tensor was expected") !=
        std::string::npos);
  CHECK(refusal(program("X\2\0\0\0os)R"s)).find("where a function was expected") != std::string::npos);
  CHECK(refusal(program(ordered + ")R}K\x01K\x02sb")).find("the name of an attribute") != std::string::npos);
  CHECK(refusal(program("NQ")).find("where a tuple was expected") != std::string::npos);
}

TEST_CASE("pickle: a storage and its tensor are taken as torch.save writes them, and in no other way") {
  const auto text = [](const std::string& words) {
    return "X" + std::string(1, static_cast<char>(words.size())) + "\0\0\0"s + words;
  };
  const auto storage = [&](const std::string& word, const std::string& type, const std::string& rest) {
    return "(" + text(word) + "c" + type + "\n" + text("7") + text("cpu") + rest + "tQ";
  };
  const std::string float_storage = "torch\nFloatStorage", four = storage("storage", float_storage, "K\4");
  const auto tensor = [](const std::string& of, const std::string& rest) {
    return program("ctorch._utils\n_rebuild_tensor_v2\n(" + of + rest + "tR");
  };
  const std::string good = tensor(four, "K\0K\2K\2\x86K\2K\1\x86"s);
  const Pickle pickle = read(good, "x.pt");
  const Tensor* read_back = pickle.root->get<Tensor>();
  REQUIRE(read_back);
  CHECK(read_back->shape == std::vector<int64_t>{2, 2});
  CHECK(read_back->storage->key == "7");
  CHECK(read_back->storage->count == 4);
  CHECK(read(tensor(four, "K\4K\0K\7\x86K\1K\7\x86"s), "x.pt").root->get<Tensor>());  // no element, so none outside

  const std::string minus_one = "J\xff\xff\xff\xff", two_to_62 = "\x8a\x08\0\0\0\0\0\0\0\x40"s;
  for (const auto& [bytes, words] : std::vector<std::pair<std::string, std::string>>{
           {program(storage("storage", float_storage, "")), "a storage has 4 properties, 5 were expected"},
           {program(storage("store", float_storage, "K\4")), "a persistent value is not a storage"},
           {program(storage("storage", "torch\nSize", "K\4")), "torch.Size is not the type of a storage"},
           {program(storage("storage", float_storage, minus_one)), "a storage has -1 elements"},
           {program(storage("storage", float_storage, "N")), "where the size of a storage was expected"},
           {program(storage("storage", float_storage, "K\4K\4")), "where None (views of storages are not read) was"},
           {tensor(four, "K\0K\2\x85)"s), "a tensor has 1 sizes and 0 strides"},
           {tensor(four, "K\0"s + minus_one + "\x85K\1\x85"), "a tensor has the size, stride or offset -1"},
           {tensor(four, "K\0("s + std::string(17, 'N') + "t)"),
            "a tensor has 17 dimensions, at most 16 were expected"},
           {tensor(four, "K\0K\5\x85K\1\x85"s), "a tensor reaches beyond its storage \"7\" of 4 elements"},
           {tensor(four, minus_one + "))"), "a tensor reaches beyond its storage"},
           {tensor(four, "K\4))"), "a tensor reaches beyond its storage"},
           {tensor(four, "K\0K\5\x85"s + two_to_62 + "\x85"), "a tensor reaches beyond its storage"},
           {tensor("N", "K\0))"s), "where a storage was expected"}})
    check_refused(bytes, words);
}

TEST_CASE("pickle: programs that break off or take what is not there are refused with the byte") {
  for (const auto& [bytes, words] : std::vector<std::pair<std::string, std::string>>{
           {"\x80\x04N.", "the pickle has protocol 4, 2 was expected (byte 0 of its pickle)"},
           {"\x80\x02"
            "ctorch",
            "the pickle ends inside a name (byte 2 of its pickle)"},
           {"\x80\x02J\1", "the pickle ends 3 bytes too early"},
           {"\x80\x02N", "the pickle ends 1 bytes too early"},
           {program(""), "the pickle takes a value from an empty stack"},
           {program("N(\x85"), "the pickle takes a value from an empty stack"},  // nothing behind the mark
           {program("Nt"), "the pickle asks for a mark that was never set"},
           {program("}(K\1u"), "the pickle gives a dictionary a key without a value"},
           {program("NK\1a"), "where a list was expected"},
           {program("h\x09"), "the pickle fetches value 9, which it never stored"},
           {program("j\x09\0\0\0"s), "the pickle fetches value 9, which it never stored"}})
    check_refused(bytes, words);
}

TEST_CASE("pickle: millions of values are refused before they fill the memory") {
  const std::string sentence = refusal(program(std::string(3'000'000, 'N')));
  CHECK_MESSAGE(sentence.find("more than 2097152 values") != std::string::npos, sentence);
}

}  // namespace systole::pickle
