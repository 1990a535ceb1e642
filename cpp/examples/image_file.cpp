#include "image_file.hpp"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>
#include <stdexcept>

#include "exif.hpp"

#ifdef WITH_JPEG
#include <jpeglib.h>
#endif
#ifdef WITH_PNG
#include <png.h>
#endif

namespace {

constexpr std::int64_t most_pixels = 178'956'970;

using File = std::unique_ptr<std::FILE, int (*)(std::FILE*)>;

File opened(const std::string& path, const char* mode) {
    File file(std::fopen(path.c_str(), mode), std::fclose);
    if (!file) throw std::runtime_error(path + " cannot be opened: " + std::strerror(errno));
    return file;
}

Picture blank(const std::string& path, std::int64_t width, std::int64_t height) {
    if (width < 1 || height < 1 || width > most_pixels || height > most_pixels || width * height > most_pixels) {
        throw std::runtime_error(path + " has no pixels, or too many");
    }
    Picture picture{static_cast<int>(width), static_cast<int>(height), {}};
    picture.rgb.resize(3 * static_cast<std::size_t>(width * height));
    return picture;
}

#ifdef WITH_JPEG
// libjpeg ends the program on errors, unless it is told otherwise.
[[noreturn]] void fail(j_common_ptr info) {
    char words[JMSG_LENGTH_MAX];
    info->err->format_message(info, words);
    throw std::runtime_error(words);
}

int orientation_of_markers(jpeg_saved_marker_ptr marker) {
    for (; marker != nullptr; marker = marker->next) {
        if (marker->data_length > 6 && std::memcmp(marker->data, "Exif\0\0", 6) == 0) {
            return orientation_of(marker->data + 6, marker->data_length - 6);
        }
    }
    return 1;
}

Picture read_jpeg(const std::string& path, std::FILE* file) {
    jpeg_decompress_struct info;
    jpeg_error_mgr errors;
    info.err = jpeg_std_error(&errors);
    errors.error_exit = fail;
    errors.output_message = [](j_common_ptr) {};
    jpeg_create_decompress(&info);
    const std::unique_ptr<jpeg_decompress_struct, void (*)(j_decompress_ptr)> made(&info, jpeg_destroy_decompress);
    jpeg_stdio_src(&info, file);
    // EXIF is in a marker of its own.
    jpeg_save_markers(&info, JPEG_APP0 + 1, 0xFFFF);
    jpeg_read_header(&info, TRUE);
    const int orientation = orientation_of_markers(info.marker_list);
    info.out_color_space = JCS_RGB;
    jpeg_start_decompress(&info);
    Picture picture = blank(path, info.output_width, info.output_height);
    while (info.output_scanline < info.output_height) {
        JSAMPROW row = picture.at(0, static_cast<int>(info.output_scanline));
        jpeg_read_scanlines(&info, &row, 1);
    }
    jpeg_finish_decompress(&info);
    return upright(picture, orientation);
}
#endif

#ifdef WITH_PNG
// The chunk "eXIf" of a PNG. libpng's simple interface does not give it away.
int orientation_of_png(std::FILE* file) {
    std::uint8_t head[8];
    for (long at = 8; std::fseek(file, at, SEEK_SET) == 0 && std::fread(head, 1, 8, file) == 8;) {
        const std::uint32_t size =
            std::uint32_t{head[0]} << 24 | std::uint32_t{head[1]} << 16 | std::uint32_t{head[2]} << 8 | head[3];
        if (std::memcmp(head + 4, "eXIf", 4) == 0) {
            std::vector<std::uint8_t> data(std::min<std::uint32_t>(size, 0xFFFF));
            return orientation_of(data.data(), std::fread(data.data(), 1, data.size(), file));
        }
        at += 12L + size;
    }
    return 1;
}

Picture read_png(const std::string& path, std::FILE* file) {
    png_image image = {};
    image.version = PNG_IMAGE_VERSION;
    if (png_image_begin_read_from_stdio(&image, file) == 0) throw std::runtime_error(path + ": " + image.message);
    // Transparency is dropped, as in Python: the colours of transparent pixels stay.
    image.format = PNG_FORMAT_RGBA;
    const std::unique_ptr<png_image, void (*)(png_imagep)> made(&image, png_image_free);
    Picture picture = blank(path, image.width, image.height);
    std::vector<std::uint8_t> rgba(PNG_IMAGE_SIZE(image));
    if (png_image_finish_read(&image, nullptr, rgba.data(), 0, nullptr) == 0) {
        throw std::runtime_error(path + ": " + image.message);
    }
    for (std::size_t i = 0; i < rgba.size() / 4; ++i) std::memcpy(&picture.rgb[3 * i], &rgba[4 * i], 3);
    return upright(picture, orientation_of_png(file));
}
#endif

Picture read_ppm(const std::string& path, std::FILE* file) {
    long width = 0, height = 0, most = 0;
    if (std::fscanf(file, "P6 %ld %ld %ld", &width, &height, &most) != 3 || most != 255) {
        throw std::runtime_error(path + " is no PPM with 8 bits");
    }
    std::fgetc(file);
    Picture picture = blank(path, width, height);
    if (std::fread(picture.rgb.data(), 1, picture.rgb.size(), file) != picture.rgb.size()) {
        throw std::runtime_error(path + " is cut off");
    }
    return picture;
}

bool ends_with(const std::string& text, const std::string& end) {
    return text.size() >= end.size() && text.compare(text.size() - end.size(), end.size(), end) == 0;
}

}  // namespace

Picture read_picture(const std::string& path) {
    const File file = opened(path, "rb");
    unsigned char first[4] = {};
    const std::size_t count = std::fread(first, 1, sizeof first, file.get());
    std::rewind(file.get());
    if (count == sizeof first && first[0] == 0xFF && first[1] == 0xD8) {
#ifdef WITH_JPEG
        return read_jpeg(path, file.get());
#else
        throw std::runtime_error(path + " is a JPEG, and this program was built without libjpeg");
#endif
    }
    if (count == sizeof first && std::memcmp(first, "\x89PNG", 4) == 0) {
#ifdef WITH_PNG
        return read_png(path, file.get());
#else
        throw std::runtime_error(path + " is a PNG, and this program was built without libpng");
#endif
    }
    if (count > 1 && first[0] == 'P' && first[1] == '6') return read_ppm(path, file.get());
    throw std::runtime_error(path + " is no JPEG, PNG or PPM");
}

void write_picture(const std::string& path, const Picture& picture) {
    // Under another name first: nobody sees half a file.
    const std::string unfinished = path + ".unfinished";
    if (ends_with(path, ".png")) {
#ifdef WITH_PNG
        png_image image = {};
        image.version = PNG_IMAGE_VERSION;
        image.width = static_cast<png_uint_32>(picture.width);
        image.height = static_cast<png_uint_32>(picture.height);
        image.format = PNG_FORMAT_RGB;
        if (png_image_write_to_file(&image, unfinished.c_str(), 0, picture.rgb.data(), 0, nullptr) == 0) {
            throw std::runtime_error(path + " cannot be written: " + image.message);
        }
#else
        throw std::runtime_error(path + " is a PNG, and this program was built without libpng: name a .ppm");
#endif
    } else if (ends_with(path, ".ppm")) {
        const File file = opened(unfinished, "wb");
        std::fprintf(file.get(), "P6\n%d %d\n255\n", picture.width, picture.height);
        if (std::fwrite(picture.rgb.data(), 1, picture.rgb.size(), file.get()) != picture.rgb.size()) {
            throw std::runtime_error(path + " cannot be written");
        }
    } else {
        throw std::runtime_error(path + " has no known ending: .png or .ppm");
    }
    if (std::rename(unfinished.c_str(), path.c_str()) != 0) {
        throw std::runtime_error(path + " cannot be written: " + std::strerror(errno));
    }
}
