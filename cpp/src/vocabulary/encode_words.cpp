// A table made of words by the bundle's text encoder. See TextTables._encode in odise_trt/text_table.py.
#include <algorithm>
#include <cmath>
#include <unordered_map>

#include "error.hpp"
#include "table.hpp"
#include "text/python_text.hpp"
#include "text/tokenizer.hpp"

namespace odise {

namespace {

std::string formatted(const std::string& prompt, const std::string& name) {
    if (prompt.empty()) return name;
    std::string text = prompt;
    return text.replace(text.find("{}"), 2, name);
}

// Names with white space collapsed, each once.
std::vector<Category> tidied(const std::vector<Category>& given) {
    if (given.empty()) throw vocabulary_error("the vocabulary is empty", "name what to look for");
    std::vector<Category> categories;
    for (const Category& one : given) {
        Category category{{}, one.isthing, false};
        for (const std::string& name : one.names) {
            std::string collapsed;
            for (const char letter : name) {
                const bool space = letter == ' ' || letter == '\t' || letter == '\n';
                if (!space) collapsed += letter;
                if (space && !collapsed.empty() && collapsed.back() != ' ') collapsed += ' ';
            }
            if (!collapsed.empty() && collapsed.back() == ' ') collapsed.pop_back();
            if (collapsed.empty()) throw vocabulary_error("a category has an empty name", "leave it out, or name it");
            auto& names = category.names;
            if (std::find(names.begin(), names.end(), collapsed) == names.end()) names.push_back(collapsed);
        }
        if (category.names.empty()) throw vocabulary_error("a category has no names", "leave it out, or name it");
        categories.push_back(std::move(category));
    }
    return categories;
}

// Rows of `all` in another order.
Array picked(const Array& all, const std::vector<std::size_t>& rows) {
    const Array out = Array::empty(Dtype::float32, {static_cast<std::int64_t>(rows.size()), all.shape[1]});
    const auto width = static_cast<std::size_t>(all.shape[1]);
    for (std::size_t i = 0; i < rows.size(); ++i) {
        std::copy_n(all.as<float>() + rows[i] * width, width, out.as<float>() + i * width);
    }
    return out;
}

}  // namespace

Table Table::encode(const std::vector<Category>& words, const Bundle& bundle, Backend& backend) {
    const ModelSpec& model = bundle.manifest.model;
    Table table;
    table.categories = tidied(words);
    mark_seen(table.categories, model);

    // Each text is encoded once: synonyms recur across categories, and the two templates may be equal.
    std::vector<std::string> texts;
    std::unordered_map<std::string, std::size_t> row;
    std::vector<std::size_t> clip_rows, rows;
    for (auto [prompt, places] :
         {std::pair{&model.clip_prompt, &clip_rows}, std::pair{&model.category_prompt, &rows}}) {
        for (const Category& category : table.categories) {
            for (const std::string& name : category.names) {
                const std::string text = formatted(*prompt, name);
                const auto [place, fresh] = row.emplace(text, texts.size());
                if (fresh) texts.push_back(text);
                places->push_back(place->second);
            }
        }
    }
    const Array tokens = Tokenizer(bundle).encode(texts);
    const StageEntry& entry = bundle.manifest.stage("text_encoder");
    // The encoder is needed only once per vocabulary, so it is freed again.
    const auto engine = backend.open_stage(bundle, entry);
    const auto count = static_cast<std::int64_t>(texts.size());
    const Arrays whole = {{"clip_text_embed", Array::empty(Dtype::float32, {count, model.clip_dim})},
                          {"text_embed", Array::empty(Dtype::float32, {count, model.mask_embed_dim})}};
    const std::int64_t most = entry.spec.axis("texts").range.most;
    for (std::int64_t start = 0; start < count; start += most) {
        const std::int64_t stop = std::min(start + most, count);
        const Arrays inputs = {{"tokens", tokens.part(start, stop)}};
        Sizes sizes;
        learn_sizes(entry.spec, entry.spec.inputs.at(0), inputs.at("tokens").shape, sizes);
        check_sizes(entry.spec, sizes);
        Arrays outputs;
        for (const Tensor& tensor : entry.spec.outputs) {
            const auto all = whole.find(tensor.name);
            if (all == whole.end() || all->second.part(start, stop).shape != tensor.resolve(sizes)) {
                throw backend_error(
                    "the text encoder gives " + tensor.name + " of another shape than the manifest says",
                    "build the bundle again");
            }
            outputs[tensor.name] = all->second.part(start, stop);
        }
        engine->run(sizes, inputs, outputs);
    }
    for (const auto& [_, array] : whole) {
        const float* values = array.as<float>();
        if (!std::all_of(values, values + array.count(), [](float one) { return std::isfinite(one); })) {
            throw backend_error("the text encoder gave numbers that are not finite", "check or rebuild its engine");
        }
    }
    table.clip_text_embed = picked(whole.at("clip_text_embed"), clip_rows);
    table.text_embed = picked(whole.at("text_embed"), rows);
    return table;
}

}  // namespace odise
