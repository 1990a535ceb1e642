// CLIP's byte-pair encoding. See odise_trt/tokenizer.py: the same tokens.
#pragma once

#include <map>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "array.hpp"
#include "bundle/bundle.hpp"

namespace odise {

// A text as CLIP wants it: white space collapsed, lower case. Python repairs texts with ftfy, too, which looks for
// damage of many kinds. So this takes texts only that ftfy leaves alone: printable ASCII without "&", and
// letters of Latin-1 that stand alone, as in "café".
// Throws VocabularyError for others. The hint says how Python makes a table of them.
std::string clean(const std::string& text);

class Tokenizer {
  public:
    // Reads the bundle's tokenizer.json. Throws BundleError if it is no tokenizer of CLIP.
    explicit Tokenizer(const Bundle& bundle);

    // int64 (texts, context_length): start, text, end, zeros.
    // Throws VocabularyError if a text is too long, has a control token in it, or cannot be cleaned.
    Array encode(const std::vector<std::string>& texts) const;

  private:
    std::size_t context_length_;
    std::int64_t start_ = -1, end_ = -1;
    std::unordered_map<std::string, std::int64_t> ids_;
    // "first second" -> how early the pair was merged. Tokens have no spaces.
    std::unordered_map<std::string, std::size_t> ranks_;

    std::vector<std::int64_t> tokens(const std::string& cleaned) const;
    void add_word(const std::string& word, std::vector<std::int64_t>& found) const;
    void read(const Json& data);
};

}  // namespace odise
