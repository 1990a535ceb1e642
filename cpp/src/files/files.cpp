#include "files.hpp"

#include <fcntl.h>
#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "sha256.hpp"

namespace odise {

namespace {

// A file descriptor that closes itself.
class Descriptor {
  public:
    explicit Descriptor(const std::string& path) : number_(::open(path.c_str(), O_RDONLY | O_CLOEXEC)) {
        if (number_ < 0) throw ReadError{errno};
    }
    ~Descriptor() { ::close(number_); }
    Descriptor(const Descriptor&) = delete;
    Descriptor& operator=(const Descriptor&) = delete;

    std::size_t read(char* to, std::size_t most) const {
        while (true) {
            const ssize_t count = ::read(number_, to, most);
            if (count >= 0) return static_cast<std::size_t>(count);
            if (errno != EINTR) throw ReadError{errno};
        }
    }

    struct stat status() const {
        struct stat found{};
        if (::fstat(number_, &found) != 0) throw ReadError{errno};
        return found;
    }

  private:
    int number_;
};

}  // namespace

std::string reason(int error) {
    std::array<char, 256> buffer{};
    // GNU's strerror_r returns the text, POSIX's a number.
    const auto text = [&](auto found) -> std::string {
        if constexpr (std::is_same_v<decltype(found), char*>) return found;
        return buffer.data();
    };
    return text(::strerror_r(error, buffer.data(), buffer.size()));
}

std::string hint_for(int error) {
    switch (error) {
        case EACCES:
            return "check the permissions";
        case EPERM:
            return "check the owner and the permissions";
        case ENAMETOOLONG:
            return "use a shorter name";
        case EMFILE:
            return "raise the limit of open files: ulimit -n";
        case ENFILE:
            return "the machine has too many files open: close other programs";
        case ENOMEM:
            return "there is not enough memory: close other programs, or do less at once";
        default:
            return {};
    }
}

Found kind_of(const std::string& path) {
    if (path.find('\0') != std::string::npos)
        return {"not known", "not a name that a file can have: embedded null byte"};
    struct stat found{};
    if (::stat(path.c_str(), &found) != 0) {
        const int error = errno;
        if (error != ENOENT && error != ENOTDIR && error != ELOOP) return {"not known", reason(error)};
        const bool link = ::lstat(path.c_str(), &found) == 0 && S_ISLNK(found.st_mode);
        return {link ? "a broken link" : "nothing", reason(error)};
    }
    if (S_ISREG(found.st_mode)) return {"a file", {}};
    if (S_ISDIR(found.st_mode)) return {"a folder", {}};
    if (S_ISFIFO(found.st_mode)) return {"a pipe", {}};
    if (S_ISSOCK(found.st_mode)) return {"a socket", {}};
    if (S_ISCHR(found.st_mode)) return {"a device", {}};
    return {"not known", {}};
}

std::string read_file(const std::string& path, std::uint64_t most) {
    const Descriptor file(path);
    const auto status = file.status();
    if (S_ISDIR(status.st_mode)) throw ReadError{EISDIR};
    std::string content;
    std::array<char, 1 << 16> block;
    while (const std::size_t count = file.read(block.data(), block.size())) {
        if (content.size() + count > most) throw ReadError{EFBIG};
        content.append(block.data(), count);
    }
    return content;
}

std::uint64_t size_of_file(const std::string& path) {
    return static_cast<std::uint64_t>(Descriptor(path).status().st_size);
}

std::string sha256_of_file(const std::string& path) {
    const Descriptor file(path);
    Sha256 digest;
    std::vector<char> block(1 << 18);
    while (const std::size_t count = file.read(block.data(), block.size())) digest.add(block.data(), count);
    return digest.hex();
}

std::string expanded(const std::string& path) {
    if (path.empty() || path[0] != '~') return path;
    const std::size_t end = std::min(path.find('/'), path.size());
    const std::string user = path.substr(1, end - 1);
    const char* home = user.empty() ? std::getenv("HOME") : nullptr;
    std::vector<char> buffer(1 << 14);
    struct passwd entry{}, *found = nullptr;
    if (home == nullptr) {
        if (user.empty()) {
            ::getpwuid_r(::getuid(), &entry, buffer.data(), buffer.size(), &found);
        } else {
            ::getpwnam_r(user.c_str(), &entry, buffer.data(), buffer.size(), &found);
        }
        if (found == nullptr) return path;
        home = found->pw_dir;
    }
    std::string folder = home;
    while (!folder.empty() && folder.back() == '/') folder.pop_back();
    const std::string whole = folder + path.substr(end);
    return whole.empty() ? "/" : whole;
}

std::string tidy(const std::string& path) {
    std::string out = !path.empty() && path[0] == '/' ? "/" : "";
    for (std::size_t start = 0; start <= path.size();) {
        const std::size_t end = std::min(path.find('/', start), path.size());
        const std::string part = path.substr(start, end - start);
        if (!part.empty() && part != ".") out += (out.empty() || out.back() == '/' ? "" : "/") + part;
        start = end + 1;
    }
    return out.empty() ? "." : out;
}

std::string inside(const std::string& folder, const std::string& name) {
    if (!name.empty() && name[0] == '/') return tidy(name);
    return tidy(folder == "." ? name : folder + "/" + name);
}

std::string absolute_parent(const std::string& path) {
    std::string whole = path;
    if (path.empty() || path[0] != '/') {
        std::array<char, 4096> buffer{};
        const char* here = ::getcwd(buffer.data(), buffer.size());
        whole = std::string(here == nullptr ? "" : here) + "/" + path;
    }
    std::vector<std::string> parts;
    for (std::size_t start = 0; start <= whole.size();) {
        const std::size_t end = std::min(whole.find('/', start), whole.size());
        const std::string part = whole.substr(start, end - start);
        if (part == "..") {
            if (!parts.empty()) parts.pop_back();
        } else if (!part.empty() && part != ".") {
            parts.push_back(part);
        }
        start = end + 1;
    }
    if (!parts.empty()) parts.pop_back();
    std::string out;
    for (const std::string& part : parts) out += "/" + part;
    return out.empty() ? "/" : out;
}

}  // namespace odise
