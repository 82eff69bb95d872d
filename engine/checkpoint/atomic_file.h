// Files that are complete or not there: written under a temporary name in the same folder, synced to the disk, renamed
// over the old one (rename is atomic, POSIX.1-2017), and the folder synced so that the new name outlives a crash too.
#pragma once

#include <filesystem>
#include <functional>
#include <ostream>
#include <string_view>

namespace systole {

/// Writes what `write` puts into the stream. Should it throw, or the disk be full, then `path` keeps its old content
/// and no temporary file is left behind. Throws Error with the reason of the system.
void write_file_atomically(const std::filesystem::path& path, const std::function<void(std::ostream&)>& write);
void write_file_atomically(const std::filesystem::path& path, std::string_view content);
/// The same, and what stood at `path` before then stands at `previous`, in the same folder. At every moment the newest
/// complete content is at `path`, or, between the two renames, at `previous`.
void replace_file_atomically(const std::filesystem::path& path, const std::filesystem::path& previous,
                             const std::function<void(std::ostream&)>& write);

/// Removes the temporary files that writers of `path` left behind when they were killed. Nobody may be writing it.
void remove_temporaries(const std::filesystem::path& path);

/// Throws Error unless write_file_atomically could write there: the folder exists and may be written to, and `path` is
/// not a folder or a device. Asked before a long run, not after it.
void check_file_writable(const std::filesystem::path& path);

}  // namespace systole
