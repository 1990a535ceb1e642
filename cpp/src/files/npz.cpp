#include "npz.hpp"

#include <array>
#include <cstring>

#include "text/python_text.hpp"

namespace odise {

namespace {

constexpr std::size_t most_entries = 1000;
constexpr std::size_t most_rank = 8;

// A little-endian number at `at`. Throws NpzError if the archive ends before it.
std::uint64_t number(std::string_view bytes, std::size_t at, std::size_t size) {
    if (at > bytes.size() || size > bytes.size() - at) throw NpzError("it is cut off");
    std::uint64_t value = 0;
    for (std::size_t i = size; i > 0; --i) value = value << 8 | static_cast<unsigned char>(bytes[at + i - 1]);
    return value;
}

std::string_view slice(std::string_view bytes, std::uint64_t at, std::uint64_t size) {
    if (at > bytes.size() || size > bytes.size() - at) throw NpzError("it is cut off");
    return bytes.substr(at, size);
}

// Where the directory of a ZIP archive is. numpy's archives end with a record of 22 bytes without a comment.
std::size_t directory_end(std::string_view content) {
    constexpr std::size_t record = 22;
    for (std::size_t back = record; back <= content.size() && back < record + 65536; ++back) {
        if (content.substr(content.size() - back, 4) == "PK\x05\x06") return content.size() - back;
    }
    throw NpzError("it is no .npz file, or cut off");
}

// Reads the header of a .npy file, a dictionary such as
// {'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }
class Header {
  public:
    explicit Header(std::string_view text) : text_(text) {}

    std::string word(std::string_view key) {
        find(key);
        if (peek() != '\'') throw damaged();
        const std::size_t end = text_.find('\'', at_ + 1);
        if (end == std::string_view::npos) throw damaged();
        return std::string(text_.substr(at_ + 1, end - at_ - 1));
    }

    bool is_false(std::string_view key) {
        find(key);
        return text_.substr(at_, 5) == "False";
    }

    Shape shape() {
        find("shape");
        if (peek() != '(') throw damaged();
        ++at_;
        Shape sizes;
        while (peek() != ')') {
            std::int64_t size = 0;
            std::size_t digits = 0;
            for (; peek() >= '0' && peek() <= '9'; ++at_, ++digits) {
                size = size * 10 + (peek() - '0');
                if (digits > 11) throw damaged();
            }
            if (digits == 0 || sizes.size() == most_rank) throw damaged();
            sizes.push_back(size);
            while (peek() == ',' || peek() == ' ') ++at_;
        }
        return sizes;
    }

  private:
    std::string_view text_;
    std::size_t at_ = 0;

    static NpzError damaged() { return NpzError("the header of an array is damaged"); }
    char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }

    void find(std::string_view key) {
        const std::string quoted = "'" + std::string(key) + "': ";
        at_ = text_.find(quoted);
        if (at_ == std::string_view::npos) throw damaged();
        at_ += quoted.size();
    }
};

}  // namespace

std::uint32_t crc32(std::string_view bytes) {
    static const auto table = [] {
        std::array<std::uint32_t, 256> made{};
        for (std::uint32_t i = 0; i < 256; ++i) {
            std::uint32_t value = i;
            for (int bit = 0; bit < 8; ++bit) value = (value & 1) != 0 ? 0xEDB88320 ^ value >> 1 : value >> 1;
            made[i] = value;
        }
        return made;
    }();
    std::uint32_t crc = 0xFFFFFFFF;
    for (const char byte : bytes) crc = table[(crc ^ static_cast<unsigned char>(byte)) & 0xFF] ^ crc >> 8;
    return ~crc;
}

Npz::Npz(std::string_view content) {
    const std::size_t end = directory_end(content);
    const std::uint64_t count = number(content, end + 10, 2);
    if (count > most_entries) throw NpzError("it has too many entries");
    std::size_t at = number(content, end + 16, 4);
    for (std::uint64_t i = 0; i < count; ++i) {
        if (slice(content, at, 4) != "PK\x01\x02") throw NpzError("its directory is damaged");
        const std::uint64_t flags = number(content, at + 8, 2), method = number(content, at + 10, 2);
        const std::uint64_t size = number(content, at + 24, 4), name_size = number(content, at + 28, 2);
        const std::string name(slice(content, at + 46, name_size));
        if (method != 0) throw NpzError(name + " is compressed; write it with numpy.savez");
        if ((flags & 1) != 0) throw NpzError(name + " is encrypted");
        if (size == 0xFFFFFFFF) throw NpzError(name + " is too large");
        const std::uint64_t local = number(content, at + 42, 4);
        if (slice(content, local, 4) != "PK\x03\x04") throw NpzError("its directory is damaged");
        const std::uint64_t start = local + 30 + number(content, local + 26, 2) + number(content, local + 28, 2);
        entries_[name] = {slice(content, start, size), static_cast<std::uint32_t>(number(content, at + 16, 4))};
        at += 46 + name_size + number(content, at + 30, 2) + number(content, at + 32, 2);
    }
}

std::string_view Npz::entry(const std::string& name) const {
    const auto found = entries_.find(name + ".npy");
    if (found == entries_.end()) throw NpzError("it has no " + name);
    if (crc32(found->second.bytes) != found->second.crc) throw NpzError(name + " was changed");
    return found->second.bytes;
}

Npy Npy::read(std::string_view content) {
    if (slice(content, 0, 6) != "\x93NUMPY") throw NpzError("an entry is no array");
    const std::uint64_t version = number(content, 6, 1);
    if (version < 1 || version > 3) throw NpzError("an array has another version");
    const std::size_t length = version == 1 ? 2 : 4;
    const std::uint64_t size = number(content, 8, length);
    Header header(slice(content, 8 + length, size));
    Npy array;
    array.descr = header.word("descr");
    if (!header.is_false("fortran_order")) throw NpzError("an array is in Fortran order");
    array.shape = header.shape();
    array.numbers = content.substr(8 + length + size);
    return array;
}

Array Npz::array(const std::string& name) const {
    const Npy npy = Npy::read(entry(name));
    static const std::map<std::string, Dtype> dtypes = {{"<f4", Dtype::float32}, {"<f2", Dtype::float16},
                                                        {"<i8", Dtype::int64},   {"<i4", Dtype::int32},
                                                        {"|u1", Dtype::uint8},   {"|b1", Dtype::uint8}};
    const auto dtype = dtypes.find(npy.descr);
    if (dtype == dtypes.end()) throw NpzError(name + " is " + repr(npy.descr) + ", which is not read");
    std::uint64_t bytes = bytes_of(dtype->second);
    for (const std::int64_t one : npy.shape) {
        if (one > 0 && bytes > npy.numbers.size() / static_cast<std::uint64_t>(one))
            throw NpzError(name + " is cut off");
        bytes *= static_cast<std::uint64_t>(one);
    }
    if (bytes != npy.numbers.size()) throw NpzError(name + " is cut off");
    Array array = Array::empty(dtype->second, npy.shape);
    std::memcpy(array.data(), npy.numbers.data(), npy.numbers.size());
    return array;
}

std::string Npz::text(const std::string& name) const {
    const Npy npy = Npy::read(entry(name));
    if (npy.descr.substr(0, 2) != "<U" || !npy.shape.empty() || npy.numbers.size() % 4 != 0) {
        throw NpzError(name + " is no text");
    }
    std::string text;
    for (std::size_t at = 0; at < npy.numbers.size(); at += 4) {
        const auto code = static_cast<char32_t>(number(npy.numbers, at, 4));
        if (code > 0x10FFFF || (code >= 0xD800 && code < 0xE000)) throw NpzError(name + " is no text");
        append_utf8(text, code);
    }
    // numpy fills up with zeros.
    const std::size_t last = text.find_last_not_of('\0');
    return text.substr(0, last == std::string::npos ? 0 : last + 1);
}

}  // namespace odise
