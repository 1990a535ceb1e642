// Any bytes as a table of a vocabulary.
#include "files/npz.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    try {
        const odise::Npz archive({reinterpret_cast<const char*>(data), size});
        for (const char* name : {"encoder", "names"}) {
            try {
                archive.text(name);
            } catch (const odise::NpzError&) {
            }
        }
        for (const char* name : {"isthing", "clip_text_embed", "text_embed", "names"}) {
            try {
                archive.array(name);
            } catch (const odise::NpzError&) {
            }
        }
    } catch (const odise::NpzError&) {
    }
    try {
        odise::Npy::read({reinterpret_cast<const char*>(data), size});
    } catch (const odise::NpzError&) {
    }
    return 0;
}
