// What the stand-in has to know of an ONNX file: names, and notes. It walks over the messages and reads no numbers.
#pragma once

#include <cstdint>
#include <fstream>
#include <functional>
#include <iterator>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace stand_in {

using Take = std::function<void(std::uint64_t number, std::string_view content)>;

// A number of protobuf at `at`, which is moved behind it. None: the content ends before.
inline std::optional<std::uint64_t> varint(std::string_view content, std::size_t& at) {
    std::uint64_t value = 0;
    for (unsigned shift = 0; at < content.size() && shift < 64; shift += 7) {
        const auto byte = static_cast<unsigned char>(content[at++]);
        value |= std::uint64_t{byte & 0x7FU} << shift;
        if (byte < 0x80) return value;
    }
    return std::nullopt;
}

// Gives the fields of a message that have a length: texts, bytes and messages. false: it is no message.
inline bool fields(std::string_view content, const Take& take) {
    for (std::size_t at = 0; at < content.size();) {
        const auto tag = varint(content, at);
        if (!tag) return false;
        std::optional<std::uint64_t> size;
        switch (*tag & 7) {
            case 0:
                if (!varint(content, at)) return false;
                continue;
            case 1:
                size = 8;
                break;
            case 2:
                size = varint(content, at);
                break;
            case 5:
                size = 4;
                break;
            default:
                return false;
        }
        if (!size || *size > content.size() - at) return false;
        if ((*tag & 7) == 2) take(*tag >> 3, content.substr(at, static_cast<std::size_t>(*size)));
        at += static_cast<std::size_t>(*size);
    }
    return true;
}

inline std::string content_of(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
}

// The names of a model's weights: ModelProto.graph (7), GraphProto.initializer (5), TensorProto.name (8).
// None: it is no model.
inline std::optional<std::vector<std::string>> initializers(std::string_view model) {
    std::vector<std::string> names;
    bool has_graph = false, whole = true;
    const Take from_tensor = [&](std::uint64_t number, std::string_view name) {
        if (number == 8) names.back() = name;
    };
    const Take from_graph = [&](std::uint64_t number, std::string_view tensor) {
        if (number != 5) return;
        names.emplace_back();
        whole = fields(tensor, from_tensor) && whole;
    };
    const bool is_model = fields(model, [&](std::uint64_t number, std::string_view graph) {
        if (number != 7) return;
        has_graph = true;
        whole = fields(graph, from_graph) && whole;
    });
    if (!is_model || !has_graph || !whole) return std::nullopt;
    return names;
}

// A note in a model: ModelProto.metadata_props (14), StringStringEntryProto.key (1) and .value (2). None: it has none.
inline std::optional<std::string> note(std::string_view model, std::string_view key) {
    std::optional<std::string> found;
    fields(model, [&](std::uint64_t number, std::string_view entry) {
        if (number != 14) return;
        std::string_view name, value;
        fields(entry, [&](std::uint64_t part, std::string_view text) { (part == 1 ? name : value) = text; });
        if (name == key) found = value;
    });
    return found;
}

}  // namespace stand_in
