# Everything from nothing: `make demo` and `make test` need Python 3.11 or newer, make, and a network for pip.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
# Processes that run the tests; each takes up to 4 GB.
WORKERS ?= 2
# Tests start hundreds of Pythons: without bytecode each would compile the sources again.
unexport PYTHONDONTWRITEBYTECODE
# Tensors come and go by the hundred megabytes. glibc would return each to the system and fetch it again.
KEEP_MEMORY := MALLOC_MMAP_THRESHOLD_=2147483648 MALLOC_TRIM_THRESHOLD_=8589934592
DEMO := engines/demo-onnxruntime-fp32
VOCABULARY := cup, mug; plate, saucer; spoon; table; book

# Where libodise_trt is built, the CMake package in OpenVINO's wheel (found without importing it), and ONNX Runtime
# (an unpacked archive of a release, docs/cpp.md), if it is wanted.
CPP := build/cpp
ONNXRUNTIME ?=
# Sanitizers of the compiler for the unit tests of C++.
SANITIZE ?= address,undefined
# A comma in a path is not one for linkers.
COMMA := ,
CPP_UNITS = build/cpp-$(subst $(COMMA),-,$(SANITIZE))
OPENVINO := $(BIN)/python -c 'import importlib.util as u; print(u.find_spec("openvino").submodule_search_locations[0])'

.PHONY: demo cpp cpp-units cpp-sanitize train-demo test test-fast test-slow lint format clean

$(INSTALLED): pyproject.toml setup.py constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet -c constraints.txt torch torchvision
	$(BIN)/pip install --quiet -c constraints.txt -e ".[cpu,openvino,export,tensorrt-rtx,train,eval,dev]"
	touch $@

demo: $(INSTALLED)  ## engines of the demo preset, what they are worth on drawn scenes, and a photo
	$(BIN)/python export/build_engines.py --preset demo --backend onnxruntime --backend tensorrt_rtx --jobs 2
	rm -rf outputs/demo-eval  # predictions of an older bundle
	$(BIN)/odise-trt eval --engines $(DEMO) --dataset scenes --limit 3 --output outputs/demo-eval --picture outputs/scenes.png
	@echo "outputs/scenes.png shows the first three held-out scenes: image, truth, prediction and PQ."
	$(BIN)/python -m reference.scenes --held-out --seed 8 --output outputs/scene.png
	$(BIN)/odise-trt run outputs/scene.png --engines $(DEMO) --vocab scenes
	$(BIN)/odise-trt inspect $(DEMO)
	@echo
	@echo "Now a photo. The demo model has seen drawn scenes only: it runs on photos, but its result is not useful there."
	@echo "For photos, build the paper's model: odise-trt build --preset odise-label --weights FILE (docs/bundles.md)."
	$(BIN)/odise-trt run assets/photo.jpg --engines $(DEMO) --vocab "$(VOCABULARY)"

cpp: $(INSTALLED)  ## libodise_trt from C++: built, tested, and two pictures segmented; after `make demo`
	@test -f $(DEMO)/manifest.json || { echo "$(DEMO) is not there: make demo"; exit 1; }
	cmake -S cpp -B $(CPP) -DODISE_WERROR=ON -DOpenVINO_DIR="$$($(OPENVINO))/cmake" \
		-DODISE_ONNXRUNTIME_ROOT="$(abspath $(ONNXRUNTIME))"
	cmake --build $(CPP) --parallel $(WORKERS)
	ctest --test-dir $(CPP) --output-on-failure
	ODISE_CPP=$(CPP) ODISE_BUNDLE=$(DEMO) $(BIN)/python -m pytest -q -n $(WORKERS) -m "not gpu" tests/cpp
	$(BIN)/python -m reference.scenes --held-out --seed 8 --output outputs/scene.png
	$(BIN)/odise-trt vocab scenes --engines $(DEMO) --table outputs/scene.cpp.npz
	$(CPP)/examples/odise_segment $(DEMO) outputs/scene.cpp.npz outputs/scene.png outputs/scene.cpp.overlay.png openvino
	$(BIN)/odise-trt vocab "$(VOCABULARY)" --engines $(DEMO) --table outputs/photo.cpp.npz
	$(CPP)/examples/odise_segment $(DEMO) outputs/photo.cpp.npz assets/photo.jpg outputs/photo.cpp.overlay.png openvino

cpp-units:  ## unit tests of libodise_trt under sanitizers: no Python, no bundle, no library of engines; SANITIZE=thread
	cmake -S cpp -B $(CPP_UNITS) -DODISE_WERROR=ON -DODISE_OPENVINO=OFF -DODISE_EXAMPLES=OFF -DODISE_SANITIZE=$(SANITIZE)
	cmake --build $(CPP_UNITS) --parallel $(WORKERS)
	ctest --test-dir $(CPP_UNITS) --output-on-failure

cpp-sanitize: $(INSTALLED)  ## the C interface from many threads, and 1,000 pictures, under sanitizers; after `make demo`
	$(BIN)/odise-trt vocab scenes --engines $(DEMO) --table outputs/scene.cpp.npz
	for sanitizer in address,undefined thread; do \
		$(MAKE) cpp-units SANITIZE=$$sanitizer && \
		build/cpp-$$(echo $$sanitizer | tr , -)/tests/odise_threads $(DEMO) outputs/scene.cpp.npz 1000 || exit 1; \
	done

train-demo: $(INSTALLED)  ## the demo model's weights from nothing: hours; SMOKE=1: a minute, a few steps of each part
	$(BIN)/python -m reference.demo $(if $(SMOKE),--smoke --output training/smoke,--output training/demo)

test: $(INSTALLED)  ## the tests; the long ones apart
	$(KEEP_MEMORY) $(BIN)/python -m pytest -n $(WORKERS) -m "not gpu and not slow"

test-fast: $(INSTALLED)  ## no exports, no recorded outputs of the official code, no training runs
	$(KEEP_MEMORY) $(BIN)/python -m pytest -n $(WORKERS) -m "not gpu and not slow and not export and not golden and not runs"

test-slow: $(INSTALLED)  ## the long tests, and many more examples than usual
	$(BIN)/python -m pytest -n $(WORKERS) -m "slow and not gpu"
	$(BIN)/python -m pytest -n $(WORKERS) -m "examples and not gpu" --hypothesis-profile thorough

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(INSTALLED)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) outputs build dist *.egg-info
	test ! -d engines || find engines -mindepth 1 -maxdepth 1 ! -name README.md -exec rm -rf {} +
