#pragma once

#include <functional>
#include <optional>
#include <utility>

#include "engines/refit.hpp"

namespace stand_in {

// The names of the weights that an engine's file lacks. None: it has its weights.
//
// An engine of the stand-in is an ONNX file. One without weights has no initializers, and their names in a note.
std::optional<std::vector<std::string>> lacking(const std::string& path);

// Gives weights to an engine of the stand-in: when it has all of them, it runs the graph that has them.
class Refitter : public odise::Refitter {
  public:
    // `lacks`: see `lacking`. `finish`: compiles a graph. It throws odise::Error.
    Refitter(std::string path, std::string stage, std::optional<std::vector<std::string>> lacks,
             std::function<void()> finish)
        : path_(std::move(path)), stage_(std::move(stage)), lacks_(std::move(lacks)), finish_(std::move(finish)) {}

    bool is_refittable() const override { return lacks_.has_value(); }
    bool start() override;
    std::vector<std::string> all() override { return *lacks_; }
    bool open_parser() override;
    bool read(const std::string& graph) override;
    std::vector<std::string> missing() override;
    bool finish() override;
    std::string said() override { return std::exchange(said_, {}); }

  private:
    using Initializers = int (*)(const char*, void (*)(void*, const char*), void*);

    std::string path_, stage_;
    std::optional<std::vector<std::string>> lacks_;
    std::function<void()> finish_;
    Initializers initializers_ = nullptr;
    std::string said_;

    // Whether a test lets this go wrong.
    bool goes_wrong(const std::string& what) const;
    // The same, and the library logs it.
    bool fails(const std::string& what);
};

}  // namespace stand_in
