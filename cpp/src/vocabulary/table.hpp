// A vocabulary as the model sees it: categories with their text embeddings. See odise_trt/text_table.py.
#pragma once

#include <string>
#include <vector>

#include "array.hpp"
#include "bundle/bundle.hpp"
#include "engines/engine.hpp"

namespace odise {

struct Category {
    std::vector<std::string> names;  // The name to show, then synonyms.
    bool isthing = true;
    bool seen = false;  // One of the names equals a name that the model was trained with.
};

// The rows of a category's names are adjacent, in the order of the categories.
struct Table {
    std::vector<Category> categories;
    Array clip_text_embed;  // float32 (K', E)
    Array text_embed;       // float32 (K', D)

    // Reads a file of `odise-trt vocab --table`.
    // Throws VocabularyError if it cannot be read, is damaged, or was made by another text encoder.
    static Table read(const std::string& path, const Bundle& bundle);
    // Encodes words with the bundle's text encoder. Of the categories, names and things are read.
    // Throws VocabularyError if a name is too long or needs Python (see `clean`), BackendError if the encoder fails.
    static Table encode(const std::vector<Category>& words, const Bundle& bundle, Backend& backend);
};

// Marks the categories that the model has seen in training.
void mark_seen(std::vector<Category>& categories, const ModelSpec& model);

// Rows of a float32 matrix scaled to length one, bit for bit as numpy does it. Zeros stay zeros.
Array unit(const Array& rows);

}  // namespace odise
