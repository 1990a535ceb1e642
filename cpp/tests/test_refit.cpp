#include <functional>

#include "check.hpp"
#include "engines/refit.hpp"
#include "error.hpp"

using Names = std::vector<std::string>;

namespace {

// A library that does what a test says, and writes down what it was asked.
struct Library : odise::Refitter {
    bool refittable = true, starts = true, parses = true, reads = true, finishes = true;
    Names needs = {"weight"}, lacks;
    std::string words;
    mutable std::string asked;

    bool answer(const char* what, bool how) const {
        asked += what;
        return how;
    }
    bool is_refittable() const override { return answer("refittable ", refittable); }
    bool start() override { return answer("start ", starts); }
    Names all() override { return answer("all ", true) ? needs : Names(); }
    bool open_parser() override { return answer("parser ", parses); }
    bool read(const std::string& graph) override { return answer(("read " + graph + " ").c_str(), reads); }
    Names missing() override { return answer("missing ", true) ? lacks : Names(); }
    bool finish() override { return answer("finish ", finishes); }
    std::string said() override { return words; }
};

std::string refitted(Library& library) {
    try {
        odise::refit(library, "B/one.engine", "B/folder/one.onnx");
    } catch (const odise::Error& error) {
        CHECK_EQUAL(int{error.status}, int{ODISE_BACKEND_ERROR});
        CHECK_EQUAL(error.hint, "build the stage again, or without --strip-weights");
        return error.what();
    }
    return "refitted";
}

}  // namespace

int main() {
    {
        Library library;
        CHECK_EQUAL(refitted(library), "refitted");
        CHECK_EQUAL(library.asked, "refittable start all parser read B/folder/one.onnx missing finish ");
    }
    {
        // It has its weights.
        Library library;
        library.refittable = false;
        CHECK_EQUAL(refitted(library), "refitted");
        CHECK_EQUAL(library.asked, "refittable ");
    }
    {
        // It needs none, and no library that reads graphs.
        Library library;
        library.needs.clear(), library.parses = false;
        CHECK_EQUAL(refitted(library), "refitted");
        CHECK_EQUAL(library.asked, "refittable start all ");
    }
    for (const auto& breaks : std::vector<std::function<void(Library&)>>{[](Library& one) { one.starts = false; },
                                                                         [](Library& one) { one.parses = false; }}) {
        Library library;
        breaks(library);
        CHECK_EQUAL(refitted(library), "B/one.engine cannot be given weights: no reason given");
        library.words = "no memory";
        CHECK_EQUAL(refitted(library), "B/one.engine cannot be given weights: no memory");
    }
    const std::string refused = "B/one.engine does not get its weights from one.onnx";
    {
        // The names are enough, if nothing else was said. What is incomplete never gets into the engine.
        Library library;
        library.reads = false, library.lacks = {"a", "", "c", "d", "e"};
        CHECK_EQUAL(refitted(library), refused + ", which lacks a, one without a name, c, d, e");
        CHECK(library.asked.find("finish") == std::string::npos);
        library.lacks.insert(library.lacks.end(), {"f", "g"});
        library.words = "not all";
        CHECK_EQUAL(refitted(library), refused + ", which lacks a, one without a name, c, d, e and 2 more: not all");
    }
    {
        // Nobody says which. Or all is said to be read, and some are missing.
        Library library;
        library.reads = false;
        CHECK_EQUAL(refitted(library), refused + ": no reason given");
        CHECK(library.asked.find("finish") == std::string::npos);
        library.reads = true, library.lacks = {"a"};
        CHECK_EQUAL(refitted(library), refused + ", which lacks a");
    }
    {
        Library library;
        library.finishes = false;
        CHECK_EQUAL(refitted(library), refused + ": no reason given");
        library.words = "other shapes";
        CHECK_EQUAL(refitted(library), refused + ": other shapes");
    }
    {
        const std::string words = WORDS_OF(odise::parser_library("B/one.engine", "libodise_nothing.so.9", "TensorRT"));
        CHECK_EQUAL(words.substr(0, words.find("so.9") + 5),
                    "B/one.engine cannot be given weights: libodise_nothing.so.9:");
        const odise::SharedLibrary other = odise::parser_library("B/one.engine", "libm.so.6", "TensorRT");
        CHECK_EQUAL(WORDS_OF(other.find<void (*)()>("createNothing")), "libm.so.6 has no function createNothing");
        CHECK(other.find<double (*)(double)>("cos")(0.0) == 1.0);
    }
    return failures > 0;
}
