#include "table.hpp"

#include <algorithm>
#include <cmath>
#include <set>

#include "error.hpp"
#include "files/files.hpp"
#include "files/npz.hpp"
#include "text/python_text.hpp"

namespace odise {

namespace {

// Ten thousand categories with ten names each have half a gigabyte.
constexpr std::uint64_t most_bytes = std::uint64_t{1} << 33;
constexpr const char* make_again = "make it again: odise-trt vocab WORDS --engines BUNDLE --table FILE";

// numpy's pairwise sum: eight sums side by side, of at most 128 numbers each.
float pairwise(const float* values, std::size_t count) {
    if (count < 8) {
        // numpy starts at -0.0, which changes no sum but that of nothing.
        float sum = -0.0F;
        for (std::size_t i = 0; i < count; ++i) sum += values[i];
        return sum;
    }
    if (count <= 128) {
        float sums[8];
        std::copy(values, values + 8, sums);
        std::size_t i = 8;
        for (; i < count - count % 8; i += 8) {
            for (std::size_t j = 0; j < 8; ++j) sums[j] += values[i + j];
        }
        float sum = ((sums[0] + sums[1]) + (sums[2] + sums[3])) + ((sums[4] + sums[5]) + (sums[6] + sums[7]));
        for (; i < count; ++i) sum += values[i];
        return sum;
    }
    std::size_t half = count / 2;
    half -= half % 8;
    return pairwise(values, half) + pairwise(values + half, count - half);
}

std::vector<Category> categories_of(const Json& data) {
    std::vector<Category> categories;
    for (const Placed& one : Placed{data, "names"}.list()) {
        Category category;
        category.names = one.texts();
        if (category.names.empty()) throw MisfitError(one.place, "is empty");
        categories.push_back(std::move(category));
    }
    if (categories.empty()) throw MisfitError("names", "is empty");
    return categories;
}

void check_embeds(const Array& array, const std::string& name, std::int64_t rows, std::int64_t width) {
    if (array.dtype != Dtype::float32 || array.shape != Shape{rows, width}) {
        throw MisfitError(name, "is " + name_of(array.dtype) + " of shape " + tuple_of(array.shape) +
                                    ", not float32 of " + tuple_of({rows, width}));
    }
    const float* values = array.as<float>();
    if (!std::all_of(values, values + array.count(), [](float one) { return std::isfinite(one); })) {
        throw MisfitError(name, "has numbers that are not finite");
    }
}

}  // namespace

Table Table::read(const std::string& given, const Bundle& bundle) {
    const std::string path = tidy(expanded(given));
    std::string content;
    try {
        content = read_file(path, most_bytes);
    } catch (const ReadError& error) {
        const std::string hint = hint_for(error.error);
        throw vocabulary_error(path + " cannot be read: " + reason(error.error),
                               hint.empty() ? "give a file that odise-trt vocab --table made" : hint);
    }
    try {
        const Npz archive(content);
        const ModelSpec& model = bundle.manifest.model;
        if (archive.text("encoder") != bundle.encoder_identity()) {
            throw vocabulary_error(path + " was made by another text encoder than that of " + bundle.folder,
                                   make_again);
        }
        Table table;
        table.categories = categories_of(parse_json(archive.text("names")));
        std::int64_t rows = 0;
        for (const Category& category : table.categories) rows += static_cast<std::int64_t>(category.names.size());
        const Array isthing = archive.array("isthing");
        const auto count = static_cast<std::int64_t>(table.categories.size());
        if (isthing.dtype != Dtype::uint8 || isthing.shape != Shape{count}) {
            throw MisfitError("isthing", "does not fit the names");
        }
        for (std::size_t i = 0; i < table.categories.size(); ++i) table.categories[i].isthing = isthing.data()[i] != 0;
        table.clip_text_embed = archive.array("clip_text_embed");
        table.text_embed = archive.array("text_embed");
        check_embeds(table.clip_text_embed, "clip_text_embed", rows, model.clip_dim);
        check_embeds(table.text_embed, "text_embed", rows, model.mask_embed_dim);
        mark_seen(table.categories, model);
        return table;
    } catch (const Error&) {
        throw;
    } catch (const std::runtime_error& error) {  // NpzError, JsonError, MisfitError
        throw vocabulary_error(path + " is no table of a vocabulary: " + error.what(), make_again);
    }
}

void mark_seen(std::vector<Category>& categories, const ModelSpec& model) {
    std::set<std::string> trained;
    for (const auto& names : model.train_labels) trained.insert(names.begin(), names.end());
    for (Category& category : categories) {
        category.seen = std::any_of(category.names.begin(), category.names.end(),
                                    [&](const std::string& name) { return trained.count(name) > 0; });
    }
}

Array unit(const Array& rows) {
    const Array out = Array::empty(Dtype::float32, rows.shape);
    const auto width = static_cast<std::size_t>(rows.shape[1]);
    std::vector<float> squares(width);
    for (std::size_t row = 0; row < static_cast<std::size_t>(rows.shape[0]); ++row) {
        const float* from = rows.as<float>() + row * width;
        for (std::size_t i = 0; i < width; ++i) squares[i] = from[i] * from[i];
        const float length = std::max(std::sqrt(pairwise(squares.data(), width)), 1e-12F);
        for (std::size_t i = 0; i < width; ++i) out.as<float>()[row * width + i] = from[i] / length;
    }
    return out;
}

}  // namespace odise
