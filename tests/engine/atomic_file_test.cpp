#include "engine/checkpoint/atomic_file.h"

#include <csignal>
#include <iterator>
#include <sys/resource.h>
#include <unistd.h>

#include "engine/checkpoint/tensor_file.h"
#include "kernels/common/error.h"
#include "tests/support.h"

namespace systole {
namespace {

using test::sentence_of;
using test::TemporaryFolder;

size_t files_in(const std::filesystem::path& folder) {
  return static_cast<size_t>(std::distance(std::filesystem::directory_iterator(folder), {}));
}

/// Files of this process may not grow beyond `bytes` while this lives: what a full disk does.
class FullDisk {
 public:
  explicit FullDisk(rlim_t bytes) : handler_(std::signal(SIGXFSZ, SIG_IGN)) {
    getrlimit(RLIMIT_FSIZE, &limit_);
    const rlimit small{bytes, limit_.rlim_max};
    setrlimit(RLIMIT_FSIZE, &small);
  }
  ~FullDisk() {
    setrlimit(RLIMIT_FSIZE, &limit_);
    std::signal(SIGXFSZ, handler_);
  }

 private:
  rlimit limit_;
  void (*handler_)(int);
};

}  // namespace

TEST_CASE("atomic file: replaces the old content and leaves nothing else in the folder") {
  const TemporaryFolder folder;
  write_file_atomically(folder / "a.json", "old and longer");
  write_file_atomically(folder / "a.json", std::string_view("new\0bytes", 9));
  CHECK(test::read_file(folder / "a.json") == std::string("new\0bytes", 9));
  write_file_atomically(folder / "a.json", [](std::ostream& stream) { stream << "streamed " << 7; });
  CHECK(test::read_file(folder / "a.json") == "streamed 7");
  CHECK(files_in(folder.path()) == 1);
}

TEST_CASE("atomic file: after a failure the old content is there and no temporary file") {
  const TemporaryFolder folder;
  write_file_atomically(folder / "a", "old");
  SUBCASE("the writer throws") {
    const auto fail = [](std::ostream& stream) {
      stream << "half";
      throw Error("stopped half-way");
    };
    CHECK(sentence_of<Error>([&] { write_file_atomically(folder / "a", fail); }) == "stopped half-way");
  }
  SUBCASE("the disk is full") {
    const FullDisk full(1 << 16);
    const std::string sentence =
        sentence_of<Error>([&] { write_file_atomically(folder / "a", std::string(1 << 20, 'x')); });
    CHECK_MESSAGE(sentence.find("File too large") != std::string::npos, sentence);
  }
  CHECK(test::read_file(folder / "a") == "old");
  CHECK(files_in(folder.path()) == 1);
}

TEST_CASE("atomic file: the content before is kept where it is asked for, and lost by no failure") {
  const TemporaryFolder folder;
  const auto replace = [&](const std::string& content) {
    replace_file_atomically(folder / "a", folder / "a.previous", [&](std::ostream& stream) { stream << content; });
  };
  replace("first");
  CHECK(files_in(folder.path()) == 1);
  replace("second");
  replace("third");
  {
    const FullDisk full(1 << 16);
    CHECK_THROWS_AS(replace(std::string(1 << 20, 'x')), Error);
  }
  CHECK(test::read_file(folder / "a") == "third");
  CHECK(test::read_file(folder / "a.previous") == "second");
  CHECK(files_in(folder.path()) == 2);
}

TEST_CASE("atomic file: what killed writers left behind is removed, and nothing else") {
  const TemporaryFolder folder;
  for (const char* name :
       {"a", ".a.12.tmp", ".a.7.tmp", ".a.b.12.tmp", ".a.tmp", ".a.12.tmpx", "a.12.tmp", ".b.12.tmp"})
    test::write_file(folder / name, "x");
  remove_temporaries(folder / "a");
  for (const char* name : {"a", ".a.b.12.tmp", ".a.tmp", ".a.12.tmpx", "a.12.tmp", ".b.12.tmp"})
    CHECK_MESSAGE(std::filesystem::exists(folder / name), name);
  CHECK(files_in(folder.path()) == 6);
}

TEST_CASE("atomic file: a place that cannot be written is known before") {
  const TemporaryFolder folder;
  const auto complaint = [](const std::filesystem::path& path) {
    return sentence_of<Error>([&] { check_file_writable(path); });
  };
  check_file_writable(folder / "new");
  CHECK(complaint(folder / "missing/a").find("missing does not exist") != std::string::npos);
  CHECK(complaint(folder.path()).find("it is a folder") != std::string::npos);
  CHECK(complaint("/dev/null").find("not a regular file") != std::string::npos);
  CHECK(complaint("").find("the name of a file was expected") != std::string::npos);
  CHECK(files_in(folder.path()) == 0);
  if (::geteuid() == 0) return;  // root may write everywhere
  std::filesystem::permissions(folder.path(), std::filesystem::perms::owner_read | std::filesystem::perms::owner_exec);
  CHECK(complaint(folder / "a").find("Permission denied") != std::string::npos);
  std::filesystem::permissions(folder.path(), std::filesystem::perms::owner_all);
}

TEST_CASE("atomic file: a checkpoint's name must also say its format") {
  const TemporaryFolder folder;
  check_writable(folder / "a.pt");
  check_writable(folder / "a.safetensors");
  CHECK_THROWS_AS(check_writable(folder / "a.json"), UsageError);
  CHECK_THROWS_AS(check_writable(folder / "missing/a.pt"), Error);
}

}  // namespace systole
