// The host stages against the plainest way to compute the same, and the kernels for this processor against the others.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>

#include "check.hpp"
#include "engines/host/kernels.hpp"
#include "engines/host/stages.hpp"
#include "picture/vectors.hpp"

namespace {

using odise::Array;
using odise::Arrays;
using odise::Dtype;

constexpr std::int64_t queries = 9, categories = 5, objects = 6, codes = 256;

float plain_sigmoid(float x) { return static_cast<float>(1 / (1 + std::exp(-static_cast<double>(x)))); }

// Smooth masks, one full and one empty, with the vectors of a picture of this size.
Arrays inputs_of(std::int64_t height, std::int64_t width) {
    std::mt19937 numbers(static_cast<unsigned>(height * 1000 + width));
    std::uniform_real_distribution<float> some(0, 1);
    Arrays inputs;
    for (auto& [name, array] : odise::picture_tensors({{64, 96}, {64, 128}, {height, width}, 64, 32})) {
        inputs[name.substr(name.find('.') + 1)] = array;
    }
    const Array masks = Array::zeros(Dtype::float32, {1, queries, 16, 32});
    for (std::int64_t q = 0; q < queries; ++q) {
        const float x = 32 * some(numbers), y = 16 * some(numbers), size = 2 + 6 * some(numbers);
        for (std::int64_t i = 0; i < 512; ++i) {
            const float distance = std::hypot(static_cast<float>(i % 32) - x, static_cast<float>(i / 32) - y);
            masks.as<float>()[q * 512 + i] = q == 0 ? 9.0F : q == 1 ? -9.0F : size - distance;
        }
    }
    inputs["pred_masks"] = masks;
    const auto random = [&](const odise::Shape& shape) {
        Array array = Array::empty(Dtype::float32, shape);
        for (std::size_t i = 0; i < array.count(); ++i) array.as<float>()[i] = some(numbers);
        return array;
    };
    inputs["score"] = random({queries});
    inputs["score"].as<float>()[3] = -1;
    inputs["probabilities"] = random({queries, categories});
    inputs["instance_query"] = Array::of<std::int64_t>(Dtype::int64, {objects}, {2, 4, 2, 0, 1, 8});
    const std::int64_t padded = (width + 7) / 8 * 8;
    inputs["column_counts_so_far"] = random({width, codes});
    inputs["whole_so_far"] = Array::zeros(Dtype::int32, {queries});
    inputs["instance_column_counts_so_far"] = Array::zeros(Dtype::float32, {padded, objects});
    inputs["instance_total_so_far"] = random({objects});
    return inputs;
}

// The logit of a query at a pixel.
float logit(const Arrays& inputs, std::int64_t query, std::int64_t y, std::int64_t x) {
    double sum = 0;
    for (std::int64_t i = 0; i < 16; ++i) {
        const std::int64_t row = y * 4 + i / 4, column = x * 4 + i % 4;
        const std::int64_t place =
            inputs.at("row_index").as<std::int64_t>()[row] * 32 + inputs.at("column_index").as<std::int64_t>()[column];
        sum += static_cast<double>(inputs.at("row_weight").as<float>()[row]) *
               static_cast<double>(inputs.at("column_weight").as<float>()[column]) *
               static_cast<double>(inputs.at("pred_masks").as<float>()[query * 512 + place]);
    }
    return static_cast<float>(sum);
}

odise::StageSpec spec_of(const char* name, const std::vector<const char*>& inputs,
                         const std::vector<const char*>& outputs) {
    odise::StageSpec spec;
    spec.name = name;
    for (const char* one : inputs) spec.inputs.push_back({one, Dtype::float32, {}});
    for (const char* one : outputs) spec.outputs.push_back({one, Dtype::float32, {}});
    return spec;
}

// Whether a value is so near to a limit that rounding decides.
bool near(float value, float limit) { return std::abs(value - limit) <= 1e-5F * (1 + std::abs(limit)); }

void check_panoptic(const Arrays& inputs, std::int64_t height, std::int64_t width) {
    const auto engine = odise::host_stage(spec_of("panoptic",
                                                  {"pred_masks", "score", "row_index", "row_weight", "column_index",
                                                   "column_weight", "column_counts_so_far", "whole_so_far"},
                                                  {"code", "row_counts", "column_counts", "whole"}));
    const Arrays made = {{"code", Array::zeros(Dtype::uint8, {height, width})},
                         {"row_counts", Array::zeros(Dtype::float32, {height, codes})},
                         {"column_counts", Array::zeros(Dtype::float32, {width, codes})},
                         {"whole", Array::zeros(Dtype::int32, {queries})}};
    engine->run({}, inputs, made);
    const float* score = inputs.at("score").as<float>();
    std::int32_t whole[queries] = {}, unsure[queries] = {};
    for (std::int64_t y = 0; y < height; ++y) {
        for (std::int64_t x = 0; x < width; ++x) {
            const int found = made.at("code").data()[y * width + x];
            float best = -2;
            for (std::int64_t q = 0; q < queries; ++q) {
                const float one = logit(inputs, q, y, x);
                whole[q] += one >= 0 ? 1 : 0;
                unsure[q] += near(one, 0) ? 1 : 0;
                best = std::max(best, score[q] < 0 ? -1 : plain_sigmoid(one) * score[q]);
            }
            const float own = logit(inputs, found / 2, y, x);
            CHECK(near(plain_sigmoid(own) * score[found / 2], best));
            CHECK((found % 2 == 1) == (own >= 0) || near(own, 0));
        }
    }
    for (std::int64_t q = 0; q < queries; ++q) {
        CHECK(std::abs(made.at("whole").as<std::int32_t>()[q] - whole[q]) <= unsure[q]);
    }
    double rows = 0, columns = 0;
    for (std::int64_t i = 0; i < height * codes; ++i) rows += static_cast<double>(made.at("row_counts").as<float>()[i]);
    for (std::int64_t i = 0; i < width * codes; ++i) {
        columns += static_cast<double>(made.at("column_counts").as<float>()[i]) -
                   static_cast<double>(inputs.at("column_counts_so_far").as<float>()[i]);
    }
    CHECK_EQUAL(rows, static_cast<double>(height * width));
    CHECK(std::abs(columns - rows) < 0.5);
}

void check_semantic(const Arrays& inputs, std::int64_t height, std::int64_t width) {
    const auto engine = odise::host_stage(
        spec_of("semantic", {"pred_masks", "probabilities", "row_index", "row_weight", "column_index", "column_weight"},
                {"semantic"}));
    const Arrays made = {{"semantic", Array::zeros(Dtype::int32, {height, width})}};
    engine->run({}, inputs, made);
    for (std::int64_t y = 0; y < height; ++y) {
        for (std::int64_t x = 0; x < width; ++x) {
            float scores[categories] = {};
            for (std::int64_t q = 0; q < queries; ++q) {
                const float inside = plain_sigmoid(logit(inputs, q, y, x));
                for (std::int64_t k = 0; k < categories; ++k) {
                    scores[k] += inside * inputs.at("probabilities").as<float>()[q * categories + k];
                }
            }
            const std::int32_t found = made.at("semantic").as<std::int32_t>()[y * width + x];
            CHECK(near(scores[found], *std::max_element(scores, scores + categories)));
        }
    }
}

void check_instances(const Arrays& inputs, std::int64_t height, std::int64_t width) {
    const auto engine = odise::host_stage(
        spec_of("instances",
                {"pred_masks", "instance_query", "row_index", "row_weight", "padded_column_index",
                 "padded_column_weight", "instance_column_counts_so_far", "instance_total_so_far"},
                {"instance_bits", "instance_row_counts", "instance_column_counts", "instance_total"}));
    const std::int64_t padded = (width + 7) / 8 * 8;
    const Arrays made = {{"instance_bits", Array::zeros(Dtype::uint8, {height, objects, padded / 8})},
                         {"instance_row_counts", Array::zeros(Dtype::float32, {height, objects})},
                         {"instance_column_counts", Array::zeros(Dtype::float32, {padded, objects})},
                         {"instance_total", Array::zeros(Dtype::float32, {objects})}};
    engine->run({}, inputs, made);
    for (std::int64_t object = 0; object < objects; ++object) {
        double rows = 0, columns = 0,
               total = static_cast<double>(inputs.at("instance_total_so_far").as<float>()[object]);
        double pixels = 0;
        for (std::int64_t y = 0; y < height; ++y) {
            rows += static_cast<double>(made.at("instance_row_counts").as<float>()[y * objects + object]);
            for (std::int64_t x = 0; x < padded; ++x) {
                const int byte = made.at("instance_bits").data()[(y * objects + object) * padded / 8 + x / 8];
                const bool found = (byte >> (7 - x % 8) & 1) != 0;
                const float one =
                    x < width ? logit(inputs, inputs.at("instance_query").as<std::int64_t>()[object], y, x) : -1.0F;
                CHECK(found == (one > 0) || near(one, 0));
                if (found) pixels += 1, total += static_cast<double>(plain_sigmoid(one));
            }
        }
        for (std::int64_t x = 0; x < padded; ++x) {
            columns += static_cast<double>(made.at("instance_column_counts").as<float>()[x * objects + object]);
        }
        CHECK_EQUAL(rows, pixels);
        CHECK_EQUAL(columns, pixels);
        CHECK(std::abs(static_cast<double>(made.at("instance_total").as<float>()[object]) - total) <=
              1e-5 * (1 + total));
    }
}

void check_kernels() {
    const odise::Kernels &plain = odise::plain_kernels(), &fast = odise::kernels();
    std::mt19937 numbers(1);
    std::normal_distribution<float> some(0, 20);
    for (const std::size_t count : {std::size_t{1}, std::size_t{7}, std::size_t{16}, std::size_t{67}}) {
        std::vector<float> a(5 * count), b(count * count), c(5 * count), d;
        for (auto* all : {&a, &b, &c}) {
            for (float& one : *all) one = some(numbers);
        }
        d = c;
        plain.add_product(a.data(), b.data(), c.data(), 5, count, count);
        fast.add_product(a.data(), b.data(), d.data(), 5, count, count);
        CHECK(std::memcmp(c.data(), d.data(), c.size() * sizeof(float)) == 0);
        plain.sigmoid(a.data(), c.data(), a.size());
        fast.sigmoid(a.data(), d.data(), a.size());
        CHECK(std::memcmp(c.data(), d.data(), c.size() * sizeof(float)) == 0);
        for (std::size_t i = 0; i < a.size(); ++i) CHECK(std::abs(c[i] - plain_sigmoid(a[i])) <= 3e-7F);
    }
    const float far[] = {1e30F, -1e30F, std::numeric_limits<float>::infinity(), 0};
    CHECK_EQUAL(odise::sigmoid(far[0]), 1.0F);
    CHECK(odise::sigmoid(far[1]) < 1e-37F);
    CHECK_EQUAL(odise::sigmoid(far[2]), 1.0F);
    CHECK_EQUAL(odise::sigmoid(far[3]), 0.5F);
}

}  // namespace

int main() {
    check_kernels();
    const std::pair<std::int64_t, std::int64_t> sizes[] = {{1, 1}, {7, 200}, {64, 64}, {65, 131}, {90, 17}};
    for (const auto& [height, width] : sizes) {
        const Arrays inputs = inputs_of(height, width);
        check_panoptic(inputs, height, width);
        check_semantic(inputs, height, width);
        check_instances(inputs, height, width);
    }
    CHECK(odise::host_stage(spec_of("semantic", {"pred_masks"}, {"semantic"})) == nullptr);
    return failures > 0 ? 1 : 0;
}
