// ONNX Runtime on the CPU. See odise_trt/backends/onnxruntime.py: the same settings, so the same numbers.
#include "engine.hpp"
#include "files/files.hpp"
#include "onnxruntime_session.hpp"

namespace odise {

namespace {

using ort::api;
using ort::check;
using ort::make;

// Stages with files larger than this free their scratch memory after each run.
constexpr std::uint64_t shrink_from = 32 << 20;

class OnnxRuntimeEngine : public Engine {
  public:
    OnnxRuntimeEngine(std::shared_ptr<OrtEnv> environment, ort::Session session, StageSpec spec, bool shrink)
        : environment_(std::move(environment)), spec_(std::move(spec)), session_(std::move(session)) {
        run_options_ = make<ort::RunOptions>(&OrtApi::CreateRunOptions);
        if (shrink) {
            check(api().AddRunConfigEntry(run_options_.get(), "memory.enable_memory_arena_shrinkage", "cpu:0"));
        }
        memory_ = make<ort::MemoryInfo>(&OrtApi::CreateCpuMemoryInfo, OrtArenaAllocator, OrtMemTypeDefault);
    }

    void run(const Sizes&, const Arrays& inputs, const Arrays& outputs) override {
        try {
            const Bound given(*memory_, spec_.inputs, inputs), made(*memory_, spec_.outputs, outputs);
            auto places = made.values;
            check(api().Run(session_.get(), run_options_.get(), given.names.data(), given.values.data(),
                            given.values.size(), made.names.data(), made.names.size(), places.data()));
        } catch (const ort::Failure& error) {
            throw run_error(spec_, error);
        }
    }

  private:
    // Tensors that the session reads or writes where they are.
    struct Bound {
        std::vector<const char*> names;
        std::vector<OrtValue*> values;
        std::vector<ort::Value> owned;

        Bound(const OrtMemoryInfo& memory, const std::vector<Tensor>& tensors, const Arrays& arrays) {
            for (const Tensor& tensor : tensors) {
                const Array& array = arrays.at(tensor.name);
                owned.push_back(ort::value_at(&memory, array.data(), array.bytes(), tensor.dtype, array.shape));
                names.push_back(tensor.name.c_str());
                values.push_back(owned.back().get());
            }
        }
    };

    std::shared_ptr<OrtEnv> environment_;
    StageSpec spec_;
    ort::MemoryInfo memory_;
    ort::RunOptions run_options_;
    ort::Session session_;
};

class OnnxRuntimeBackend : public Backend {
  public:
    explicit OnnxRuntimeBackend(EngineOptions options)
        : options_(std::move(options)), environment_(ort::start(ORT_LOGGING_LEVEL_ERROR)) {}

    // ONNX files run on any machine.
    std::string mismatch(const BackendInfo&) const override { return ""; }

    std::unique_ptr<Engine> open_stage(const Bundle& bundle, const StageEntry& entry) override {
        std::uint64_t size = 0;
        for (const std::string& name : entry.files) size += size_of_file(bundle.path(name));
        const ort::SessionOptions options = session_options(entry.files.size() > 1);
        return std::make_unique<OnnxRuntimeEngine>(
            environment_, ort::open_session(environment_.get(), bundle.path(entry.file), entry.spec, options.get()),
            entry.spec, size > shrink_from);
    }

  private:
    EngineOptions options_;
    std::shared_ptr<OrtEnv> environment_;

    // The reasons are in the Python backend. `mapped`: weights are in files of their own.
    ort::SessionOptions session_options(bool mapped) const {
        // Levels above "extended" crash on half-precision graphs.
        auto made =
            ort::session_options(options_.threads, options_.precision == "fp16" ? ORT_ENABLE_EXTENDED : ORT_ENABLE_ALL);
        // Threads that wait for work would take the processors from the next session.
        check(api().AddSessionConfigEntry(made.get(), "session.intra_op.allow_spinning", "0"));
        if (mapped) check(api().AddSessionConfigEntry(made.get(), "session.disable_prepacking", "1"));
        return made;
    }
};

}  // namespace

std::unique_ptr<Backend> open_onnxruntime(const EngineOptions& options) {
    return std::make_unique<OnnxRuntimeBackend>(options);
}

}  // namespace odise
