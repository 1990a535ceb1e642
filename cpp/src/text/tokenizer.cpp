#include "tokenizer.hpp"

#include <algorithm>
#include <array>

#include "error.hpp"
#include "files/files.hpp"
#include "python_text.hpp"

namespace odise {

namespace {

constexpr const char* start_token = "<start_of_text>";
constexpr const char* end_token = "<end_of_text>";
constexpr const char* end_of_word = "</w>";
// CLIP's has 1.7 MB.
constexpr std::uint64_t most_bytes = 1 << 26;

bool is_latin_letter(char32_t code) { return code >= 0xC0 && code <= 0xFF && code != 0xD7 && code != 0xF7; }
bool is_letter(char32_t code) { return (code >= 'a' && code <= 'z') || (code >= 'A' && code <= 'Z') || code >= 0x80; }
bool is_digit(char32_t code) { return code >= '0' && code <= '9'; }

std::string shortened(const std::string& text) {
    return repr(code_points(text).size() <= 60 ? std::string_view(text) : std::string_view(cut(text, 57) + "..."));
}

// Each byte as a visible character, as GPT-2 has it: bytes that are none come after 255.
std::array<std::string, 256> visible_bytes() {
    std::array<std::string, 256> made;
    char32_t next = 256;
    for (char32_t byte = 0; byte < 256; ++byte) {
        const bool visible = (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
        append_utf8(made[byte], visible ? byte : next++);
    }
    return made;
}

// CLIP's words: 's and the like, letters, one digit, or other characters.
std::vector<std::u32string> words_of(const std::u32string& text) {
    static const std::array<std::u32string, 7> endings = {U"'s", U"'t", U"'re", U"'ve", U"'m", U"'ll", U"'d"};
    std::vector<std::u32string> words;
    for (std::size_t at = 0; at < text.size();) {
        std::size_t end = at + 1;
        const auto run = [&](auto fits) {
            while (end < text.size() && fits(text[end])) ++end;
        };
        const auto ending = std::find_if(endings.begin(), endings.end(), [&](const std::u32string& one) {
            return text.compare(at, one.size(), one) == 0;
        });
        if (ending != endings.end()) {
            end = at + ending->size();
        } else if (text[at] == ' ') {
            at = end;
            continue;
        } else if (is_letter(text[at])) {
            run(is_letter);
        } else if (!is_digit(text[at])) {
            run([](char32_t code) { return code != ' ' && !is_letter(code) && !is_digit(code); });
        }
        words.push_back(text.substr(at, end - at));
        at = end;
    }
    return words;
}

}  // namespace

std::string clean(const std::string& text) {
    std::string out;
    const std::u32string codes = code_points(text);
    for (std::size_t i = 0; i < codes.size(); ++i) {
        const char32_t code = codes[i];
        const auto other = [&](std::size_t j) { return j < codes.size() && codes[j] >= 0x80; };
        // A letter before a space can be the rest of a damaged one.
        const bool alone = !other(i - 1) && !other(i + 1) &&
                           !(i + 1 < codes.size() && codes[i + 1] == ' ' && (code == 0xC2 || code == 0xC3));
        if (code == ' ' || code == '\t' || code == '\n') {
            if (!out.empty() && out.back() != ' ') out += ' ';
        } else if (code > ' ' && code < 0x7F && code != '&') {
            out += static_cast<char>(code >= 'A' && code <= 'Z' ? code + 0x20 : code);
        } else if (is_latin_letter(code) && alone) {
            append_utf8(out, code < 0xDF ? code + 0x20 : code);
        } else {
            throw vocabulary_error(shortened(text) + " has characters that only Python prepares for CLIP",
                                   "make a table of it: odise-trt vocab WORDS --engines BUNDLE --table FILE");
        }
    }
    if (!out.empty() && out.back() == ' ') out.pop_back();
    return out;
}

Tokenizer::Tokenizer(const Bundle& bundle)
    : context_length_(static_cast<std::size_t>(bundle.manifest.model.context_length)) {
    const std::string path = bundle.path(tokenizer_file);
    try {
        read(parse_json(read_file(path, most_bytes)));
    } catch (const ReadError& error) {
        throw bundle_error(path + " cannot be read: " + reason(error.error), "build the bundle again");
    } catch (const std::runtime_error& error) {  // JsonError, MisfitError
        throw bundle_error(path + " is not a tokenizer of CLIP: " + error.what(), "build the bundle again");
    }
}

void Tokenizer::read(const Json& data) {
    const Json* model = data.find("model");
    const Json* added = data.find("added_tokens");
    const Json* vocab = model == nullptr ? nullptr : model->find("vocab");
    const Json* merges = model == nullptr ? nullptr : model->find("merges");
    const Json* suffix = model == nullptr ? nullptr : model->find("end_of_word_suffix");
    if (added == nullptr || vocab == nullptr || merges == nullptr || suffix == nullptr || suffix->text != end_of_word) {
        throw MisfitError("", "it has no vocabulary and merges of words that end with </w>");
    }
    for (const Placed& one : Placed{*added, "added_tokens"}.list()) {
        const Json *content = one.value.find("content"), *id = one.value.find("id");
        if (content == nullptr || id == nullptr) throw MisfitError(one.place, "has no content and id");
        if (content->text == start_token) start_ = id->integer;
        if (content->text == end_token) end_ = id->integer;
    }
    if (start_ < 0 || end_ < 0) throw MisfitError("", std::string("no ") + start_token + " or " + end_token + " in it");
    for (const auto& [token, id] : vocab->mapping) ids_[token] = id.integer;
    for (const Placed& one : Placed{*merges, "merges"}.list()) {
        const bool is_pair = one.value.kind == Json::Kind::list;
        const auto parts = is_pair ? one.texts() : std::vector<std::string>{one.text()};
        if (is_pair && parts.size() != 2) throw MisfitError(one.place, "is no pair");
        ranks_.emplace(is_pair ? parts[0] + " " + parts[1] : parts[0], ranks_.size());
    }
}

Array Tokenizer::encode(const std::vector<std::string>& texts) const {
    const Array rows = Array::zeros(
        Dtype::int64, {static_cast<std::int64_t>(texts.size()), static_cast<std::int64_t>(context_length_)});
    for (std::size_t i = 0; i < texts.size(); ++i) {
        const std::string cleaned = clean(texts[i]);
        if (cleaned.find(start_token) != std::string::npos || cleaned.find(end_token) != std::string::npos) {
            throw vocabulary_error(shortened(texts[i]) + " holds " + start_token + " or " + end_token,
                                   "they have a meaning of their own");
        }
        const auto found = tokens(cleaned);
        const std::size_t room = context_length_ - 2;
        if (found.size() > room) {
            throw vocabulary_error(shortened(texts[i]) + " has " + std::to_string(found.size()) +
                                       " tokens, CLIP reads at most " + std::to_string(room),
                                   "use fewer words for it");
        }
        std::int64_t* row = rows.as<std::int64_t>() + i * context_length_;
        row[0] = start_;
        std::copy(found.begin(), found.end(), row + 1);
        row[found.size() + 1] = end_;
    }
    return rows;
}

std::vector<std::int64_t> Tokenizer::tokens(const std::string& cleaned) const {
    std::vector<std::int64_t> found;
    for (const std::u32string& word : words_of(code_points(cleaned))) {
        std::string bytes;
        for (const char32_t code : word) append_utf8(bytes, code);
        add_word(bytes, found);
    }
    return found;
}

void Tokenizer::add_word(const std::string& word, std::vector<std::int64_t>& found) const {
    static const auto visible = visible_bytes();
    std::vector<std::string> parts;
    for (const char byte : word) parts.push_back(visible[static_cast<unsigned char>(byte)]);
    parts.back() += end_of_word;
    while (parts.size() > 1) {
        std::size_t best = ranks_.size(), place = 0;
        for (std::size_t i = 0; i + 1 < parts.size(); ++i) {
            const auto rank = ranks_.find(parts[i] + " " + parts[i + 1]);
            if (rank != ranks_.end() && rank->second < best) best = rank->second, place = i;
        }
        if (best == ranks_.size()) break;
        parts[place] += parts[place + 1];
        parts.erase(parts.begin() + static_cast<std::ptrdiff_t>(place) + 1);
    }
    for (const std::string& part : parts) {
        const auto id = ids_.find(part);
        // Every byte is a token, alone and at the end of a word.
        if (id == ids_.end())
            throw bundle_error("the bundle's tokenizer.json lacks " + repr(part), "build the bundle again");
        found.push_back(id->second);
    }
}

}  // namespace odise
