#include "result.hpp"

#include <algorithm>
#include <iterator>

namespace odise {

namespace {

const std::vector<std::string> maps = {"s2", "s3", "s4", "s5"};
const std::vector<std::pair<std::string, std::string>> numbers = {{"mask_head", "pred_masks"},
                                                                  {"mask_head", "mask_embed"},
                                                                  {"clip_pool", "clip_mask_embed"},
                                                                  {"classify", "probabilities"}};

// A count that is no number itself tells the same.
bool has_bad(const Arrays& arrays, const char* name, std::size_t i) {
    const Array& counts = arrays.at(name);
    return i >= counts.count() || !(counts.as<float>()[i] == 0);
}

// Row of assign.segments: segment (0: none), category, area, first and last row, first and last column.
constexpr std::size_t columns_of_segments = 7;

void read_segments(const Array& table, const Array& score, Result& result) {
    const auto queries = static_cast<std::size_t>(table.shape[0]);
    const auto* rows = table.as<std::int32_t>();
    int count = 0;
    for (std::size_t query = 0; query < queries; ++query) count = std::max(count, rows[query * columns_of_segments]);
    for (int number = 1; number <= count; ++number) {
        Region segment{0, 0, 0, 0, 0, 0, 0, nullptr};
        std::vector<const std::int32_t*> own, empty;
        for (std::size_t query = 0; query < queries; ++query) {
            const std::int32_t* row = rows + query * columns_of_segments;
            if (row[0] != number) continue;
            (row[2] > 0 ? own : empty).push_back(row);
            segment.score = std::max(segment.score, score.as<float>()[query]);
        }
        if (own.empty()) own = empty;
        if (own.empty()) continue;
        std::int32_t top = own[0][3], bottom = own[0][4], left = own[0][5], right = own[0][6];
        for (const std::int32_t* row : own) {
            segment.area += row[2];
            top = std::min(top, row[3]), bottom = std::max(bottom, row[4]);
            left = std::min(left, row[5]), right = std::max(right, row[6]);
        }
        segment.category_id = own[0][1];
        segment.x = left, segment.y = top;
        segment.width = right - left + 1, segment.height = bottom - top + 1;
        result.segments.push_back(segment);
    }
}

std::shared_ptr<std::vector<std::uint8_t>> unpacked(const Array& bits, std::size_t place, const Size& size) {
    const auto width = static_cast<std::size_t>(size.width), height = static_cast<std::size_t>(size.height);
    const auto objects = static_cast<std::size_t>(bits.shape[1]), bytes = static_cast<std::size_t>(bits.shape[2]);
    auto mask = std::make_shared<std::vector<std::uint8_t>>(width * height);
    for (std::size_t y = 0; y < height; ++y) {
        const std::uint8_t* row = bits.data() + (y * objects + place) * bytes;
        for (std::size_t x = 0; x < width; ++x) {
            (*mask)[y * width + x] = static_cast<std::uint8_t>(row[x / 8] >> (7 - x % 8) & 1);
        }
    }
    return mask;
}

// First and last index with a count. False: there is none.
bool extent(const Array& counts, std::size_t place, std::size_t length, int& first, int& last, std::int64_t& sum) {
    const auto objects = static_cast<std::size_t>(counts.shape[1]);
    first = last = -1, sum = 0;
    for (std::size_t i = 0; i < length; ++i) {
        const float count = counts.as<float>()[i * objects + place];
        if (count == 0) continue;
        if (first < 0) first = static_cast<int>(i);
        last = static_cast<int>(i);
        sum += static_cast<std::int64_t>(count);
    }
    return first >= 0;
}

void read_instances(const Arrays& arrays, Result& result) {
    const Array& score = arrays.at("top_instances.instance_score");
    const Array& category = arrays.at("top_instances.instance_category");
    const Array& query = arrays.at("top_instances.instance_query");
    const Array& total = arrays.at("instances.instance_total");
    const Array& bits = arrays.at("instances.instance_bits");
    std::map<std::int64_t, std::shared_ptr<std::vector<std::uint8_t>>> masks;
    for (std::size_t place = 0; place < score.count(); ++place) {
        const auto kind = static_cast<std::size_t>(category.as<std::int64_t>()[place]);
        Region object{static_cast<int>(kind), score.as<float>()[place], 0, 0, 0, 0, 0, nullptr};
        if (object.score < 0 || !result.table->categories.at(kind).isthing) continue;
        int top = 0, bottom = 0, left = 0, right = 0;
        std::int64_t same = 0;
        const auto height = static_cast<std::size_t>(result.size.height),
                   width = static_cast<std::size_t>(result.size.width);
        if (!extent(arrays.at("instances.instance_row_counts"), place, height, top, bottom, object.area) ||
            !extent(arrays.at("instances.instance_column_counts"), place, width, left, right, same)) {
            continue;
        }
        object.x = left, object.y = top, object.width = right - left + 1, object.height = bottom - top + 1;
        const double mean = static_cast<double>(total.as<float>()[place]) / (static_cast<double>(object.area) + 1e-6);
        object.score = static_cast<float>(static_cast<double>(object.score) * mean);
        auto& mask = masks[query.as<std::int64_t>()[place]];
        if (!mask) mask = unpacked(bits, place, result.size);
        object.mask = mask;
        result.instances.push_back(std::move(object));
    }
    std::stable_sort(result.instances.begin(), result.instances.end(),
                     [](const Region& a, const Region& b) { return a.score > b.score; });
}

}  // namespace

const std::vector<std::string>& result_reads() {
    static const std::vector<std::string> names = {
        "stitch.maps_not_finite",
        "classify.numbers_not_finite",
        "classify.score",
        "assign.segments",
        "top_instances.instance_score",
        "top_instances.instance_category",
        "top_instances.instance_query",
        "instances.instance_bits",
        "instances.instance_row_counts",
        "instances.instance_column_counts",
        "instances.instance_total",
        panoptic_map,
        semantic_map,
    };
    return names;
}

Error not_finite(const std::string& stage, const std::string& tensor) {
    return backend_error("stage " + stage + " gave " + tensor + " with numbers that are not finite",
                         "look at the bundle's parity (odise-trt inspect), or build it in fp32");
}

void check_maps(const Arrays& arrays) {
    for (std::size_t i = 0; i < maps.size(); ++i) {
        if (has_bad(arrays, "stitch.maps_not_finite", i)) throw not_finite("features", maps[i]);
    }
}

void check_finite(const Arrays& arrays) {
    check_maps(arrays);
    for (std::size_t i = 0; i < numbers.size(); ++i) {
        if (has_bad(arrays, "classify.numbers_not_finite", i)) throw not_finite(numbers[i].first, numbers[i].second);
    }
}

FeatureMap map_of(const Tensor& tensor, const Array& array, const Size& picture) {
    if (array.dtype != Dtype::float32 && array.dtype != Dtype::float16) {
        throw backend_error("feature maps of " + name_of(array.dtype) + " are not read", "build the bundle in fp32");
    }
    const std::int64_t stride = tensor.shape[2].divisor;
    FeatureMap map{tensor.name,
                   array.shape[1],
                   (picture.height + stride - 1) / stride,
                   (picture.width + stride - 1) / stride,
                   stride,
                   {}};
    for (std::int64_t channel = 0; channel < map.channels; ++channel) {
        for (std::int64_t y = 0; y < map.height; ++y) {
            const std::int64_t start = (channel * array.shape[2] + y) * array.shape[3];
            if (array.dtype == Dtype::float32) {
                const float* row = array.as<float>() + start;
                map.values.insert(map.values.end(), row, row + map.width);
            } else {
                const std::uint16_t* row = array.as<std::uint16_t>() + start;
                std::transform(row, row + map.width, std::back_inserter(map.values), from_half);
            }
        }
    }
    return map;
}

void read_result(const Arrays& arrays, Result& result) {
    if (const auto map = arrays.find(panoptic_map); map != arrays.end()) result.panoptic = map->second;
    if (const auto table = arrays.find("assign.segments"); table != arrays.end()) {
        read_segments(table->second, arrays.at("classify.score"), result);
    }
    if (const auto map = arrays.find(semantic_map); map != arrays.end()) result.semantic = map->second;
    if (arrays.count("instances.instance_bits") > 0) read_instances(arrays, result);
}

}  // namespace odise
