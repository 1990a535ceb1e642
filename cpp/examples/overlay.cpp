#include "overlay.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <map>

#include "text.hpp"

namespace {

using Rgb = std::array<std::uint8_t, 3>;

constexpr double pi = 3.14159265358979323846;
constexpr int least_side = 640;

std::uint8_t gamma_of(double value) {
    value = std::clamp(value, 0.0, 1.0);
    const double curved = value <= 0.0031308 ? 12.92 * value : 1.055 * std::pow(value, 1 / 2.4) - 0.055;
    return static_cast<std::uint8_t>(std::lround(255 * curved));
}

// OKLab to sRGB (Ottosson, "A perceptual color space for image processing", 2020). Chroma that sRGB lacks is left out.
Rgb oklch(double lightness, double chroma, double hue) {
    while (true) {
        const double a = chroma * std::cos(hue * pi / 180), b = chroma * std::sin(hue * pi / 180);
        const double l = std::pow(lightness + 0.3963377774 * a + 0.2158037573 * b, 3);
        const double m = std::pow(lightness - 0.1055613458 * a - 0.0638541728 * b, 3);
        const double s = std::pow(lightness - 0.0894841775 * a - 1.2914855480 * b, 3);
        const std::array<double, 3> linear = {4.0767416621 * l - 3.3077115913 * m + 0.2309699292 * s,
                                              -1.2684380046 * l + 2.6097574011 * m - 0.3413193965 * s,
                                              -0.0041960863 * l - 0.7034186147 * m + 1.7076147010 * s};
        const auto shown = [](double one) { return one >= -1e-4 && one <= 1 + 1e-4; };
        if (chroma <= 0 || std::all_of(linear.begin(), linear.end(), shown)) {
            return {gamma_of(linear[0]), gamma_of(linear[1]), gamma_of(linear[2])};
        }
        chroma -= 0.005;
    }
}

// Multiples of the golden angle are far apart: neighbours in a vocabulary get distant hues.
Rgb color_of(int category, bool isthing, int shade) {
    constexpr std::array<double, 3> lightness = {0.72, 0.62, 0.80};
    constexpr std::array<std::array<double, 2>, 7> shades = {
        {{0.0, 0.0}, {0.09, 16.0}, {-0.11, -16.0}, {0.05, -30.0}, {-0.06, 28.0}, {0.13, -12.0}, {-0.15, 10.0}}};
    const auto& [lighter, turned] = shades[static_cast<std::size_t>(shade) % shades.size()];
    const double light = std::clamp(lightness[static_cast<std::size_t>(category) % 3] + lighter, 0.5, 0.85);
    return oklch(light, isthing ? 0.17 : 0.10, 252 + category * 180 * (3 - std::sqrt(5.0)) + turned);
}

// Where a segment is broadest: the pixel that is farthest from others, by city blocks.
struct Spot {
    int x = 0, y = 0, distance = 0;
};

std::map<int, Spot> broadest(const std::vector<std::int32_t>& ids, int width, int height) {
    const auto at = [&](int x, int y) {
        return static_cast<std::size_t>(y) * static_cast<std::size_t>(width) + static_cast<std::size_t>(x);
    };
    std::vector<int> distance(ids.size());
    const auto reach = [&](int x, int y, int dx, int dy) {
        const int nx = x + dx, ny = y + dy;
        const bool same = nx >= 0 && nx < width && ny >= 0 && ny < height && ids[at(nx, ny)] == ids[at(x, y)];
        return same ? distance[at(nx, ny)] + 1 : 1;
    };
    for (int y = 0; y < height; ++y) {
        for (int x = 0; x < width; ++x) distance[at(x, y)] = std::min(reach(x, y, -1, 0), reach(x, y, 0, -1));
    }
    std::map<int, Spot> spots;
    for (int y = height - 1; y >= 0; --y) {
        for (int x = width - 1; x >= 0; --x) {
            int& own = distance[at(x, y)];
            own = std::min({own, reach(x, y, 1, 0), reach(x, y, 0, 1)});
            Spot& spot = spots[ids[at(x, y)]];
            if (own > spot.distance) spot = {x, y, own};
        }
    }
    return spots;
}

Picture enlarged(const Picture& photo, const std::int32_t* from, std::vector<std::int32_t>& ids) {
    const int longer = std::max(photo.width, photo.height);
    const double scale = std::max(1.0, static_cast<double>(least_side) / longer);
    Picture picture;
    picture.width = std::max(1, static_cast<int>(std::lround(photo.width * scale)));
    picture.height = std::max(1, static_cast<int>(std::lround(photo.height * scale)));
    picture.rgb.resize(3 * static_cast<std::size_t>(picture.width) * static_cast<std::size_t>(picture.height));
    ids.resize(picture.rgb.size() / 3);
    std::size_t place = 0;
    for (int y = 0; y < picture.height; ++y) {
        const int row = std::min(static_cast<int>((y + 0.5) / scale), photo.height - 1);
        for (int x = 0; x < picture.width; ++x) {
            const int column = std::min(static_cast<int>((x + 0.5) / scale), photo.width - 1);
            std::copy_n(photo.at(column, row), 3, picture.at(x, y));
            ids[place++] = from[static_cast<std::size_t>(row) * static_cast<std::size_t>(photo.width) +
                                static_cast<std::size_t>(column)];
        }
    }
    return picture;
}

void blend(std::uint8_t* pixel, const Rgb& color, double opacity) {
    for (std::size_t c = 0; c < 3; ++c) {
        pixel[c] = static_cast<std::uint8_t>(std::lround(pixel[c] * (1 - opacity) + color[c] * opacity));
    }
}

void draw_name(Picture& picture, const std::string& name, const Spot& spot, int scale, const Rgb& color) {
    constexpr Rgb white = {255, 255, 255};
    const int margin = 2 * scale, width = text_width(name, scale) + 2 * margin,
              height = text_height(scale) + 2 * margin;
    if (width > picture.width || height > picture.height) return;
    const int left = std::clamp(spot.x - width / 2, 0, picture.width - width);
    const int top = std::clamp(spot.y - height / 2, 0, picture.height - height);
    Rgb dark = color;
    for (auto& one : dark) one = static_cast<std::uint8_t>(one * 2 / 5);
    for (int y = top; y < top + height; ++y) {
        for (int x = left; x < left + width; ++x) blend(picture.at(x, y), dark, 0.85);
    }
    draw_text(picture, name, left + margin, top + margin, scale, white.data());
}

}  // namespace

Picture draw_overlay(const Picture& photo, const odise::Result& result) {
    std::vector<std::int32_t> ids;
    Picture picture = enlarged(photo, result.panoptic(), ids);
    const auto segments = result.segments();
    std::vector<Rgb> colors;
    std::map<int, int> shades;
    for (const auto& segment : segments) {
        colors.push_back(
            color_of(segment.category_id, segment.isthing, segment.isthing ? shades[segment.category_id]++ : 0));
    }
    const int scale = std::max(1, static_cast<int>(std::lround(std::max(picture.width, picture.height) / 450.0)));
    const auto id_at = [&](int x, int y) {
        return ids[static_cast<std::size_t>(y) * static_cast<std::size_t>(picture.width) + static_cast<std::size_t>(x)];
    };
    for (int y = 0; y < picture.height; ++y) {
        for (int x = 0; x < picture.width; ++x) {
            const int id = id_at(x, y);
            if (id == 0) continue;
            const auto place = static_cast<std::size_t>(id - 1);
            const bool isthing = segments[place].isthing;
            bool edge = false;
            for (int d = 1; isthing && d <= scale; ++d) {
                edge |= x >= d && id_at(x - d, y) != id;
                edge |= y >= d && id_at(x, y - d) != id;
                edge |= x + d < picture.width && id_at(x + d, y) != id;
                edge |= y + d < picture.height && id_at(x, y + d) != id;
            }
            blend(picture.at(x, y), edge ? Rgb{255, 255, 255} : colors[place], edge ? 0.75 : isthing ? 0.55 : 0.45);
        }
    }
    const auto spots = broadest(ids, picture.width, picture.height);
    for (std::size_t i = 0; i < segments.size(); ++i) {
        const auto spot = spots.find(segments[i].id);
        if (spot != spots.end() && spot->second.distance > 3 * scale)
            draw_name(picture, segments[i].name, spot->second, scale, colors[i]);
    }
    return picture;
}
