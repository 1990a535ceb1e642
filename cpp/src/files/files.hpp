// What is at a path, and what is in a file.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace odise {

// What is at a path, in Python's words: "a file", "a folder", "a pipe", ..., "nothing", "a broken link".
struct Found {
    std::string kind;
    std::string why;  // Of what is not there, the system's words.

    bool is_file() const { return kind == "a file"; }
    bool is_folder() const { return kind == "a folder"; }
    bool is_there() const { return kind != "nothing" && kind != "a broken link" && kind != "not known"; }
};

Found kind_of(const std::string& path);

// The system's words for an error, and what to do about it ("": not known).
std::string reason(int error);
std::string hint_for(int error);

// The system refused to read a file.
struct ReadError {
    int error;
};

// Throws ReadError. `most`: a longer file is refused with EFBIG.
std::string read_file(const std::string& path, std::uint64_t most);
std::uint64_t size_of_file(const std::string& path);
// SHA-256 in hexadecimal. The file is read in blocks.
std::string sha256_of_file(const std::string& path);

// The path with ~ replaced by the home folder, as a shell does.
std::string expanded(const std::string& path);
// folder / name, as pathlib writes it.
std::string inside(const std::string& folder, const std::string& name);
// As os.path.dirname(os.path.abspath(path)).
std::string absolute_parent(const std::string& path);
// pathlib's way to write a path: "a//b/./c/" -> "a/b/c".
std::string tidy(const std::string& path);

}  // namespace odise
