"""Packaging of odise-trt.

A wheel holds the runtime, `odise_trt`, alone: it installs and runs without torch. The toolkit around it
(`reference`, `export`, `benchmarks`) is used from a checkout, `pip install -e ".[export]"`.
"""

from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

RUNTIME = ["odise_trt", "odise_trt.*"]
TOOLKIT = ["reference", "reference.*", "export", "export.*", "benchmarks", "benchmarks.*"]
# torch is pinned to one version with its torchvision, or pip trades a CPU torch for a CUDA one.
EXPORT = [
    "torch==2.13.0",
    "torchvision==0.28.0",
    "diffusers>=0.42,<0.43",
    "transformers>=5.23,<6",
    "open_clip_torch>=3.3,<4",
    "onnx>=1.23,<2",
    "onnxscript>=0.7.2,<0.8",
    "polygraphy>=0.53,<0.54",
    "safetensors>=0.8,<1",
    "psutil>=6,<8",
    "filelock>=4.2,<5",
]
# Every extra of the toolkit can be installed alone.
EVAL = ["faster-coco-eval>=1.8,<2", "pycocotools>=2.0.10,<3", "scipy>=1.14,<2"]
TRAIN = ["scipy>=1.14,<2", "HanTa>=1.2,<2", "pycocotools>=2.0.10,<3", "tensorboard>=2.18,<3"]


class RuntimeOnly(build_py):
    """Leave the toolkit out of wheels: top-level names like `export` belong to a checkout."""

    def finalize_options(self) -> None:
        """See setuptools."""
        super().finalize_options()
        if not self.editable_mode:
            self.packages = find_packages(include=RUNTIME)


setup(
    name="odise-trt",
    version="0.1.0",
    description="ODISE open-vocabulary panoptic segmentation, exported stage by stage to ONNX and TensorRT",
    long_description=Path(__file__).with_name("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    license_files=["LICENSE"],
    python_requires=">=3.11",
    packages=find_packages(include=RUNTIME + TOOLKIT),
    package_data={"odise_trt": ["py.typed", "vocabularies/*"]},
    cmdclass={"build_py": RuntimeOnly},
    install_requires=[
        "numpy>=2.0,<3",
        "onnxruntime>=1.22,<2",
        "tokenizers>=0.21,<1",
        "pillow>=11,<14",
        "pyyaml>=6,<7",
        "typer>=0.16,<1",
        "rich>=13.8,<16",
        "ftfy>=6.3,<7",
    ],
    extras_require={
        "export": EXPORT,
        "train": EXPORT + TRAIN,
        "eval": EXPORT + EVAL,
        "ray": ["ray[data]>=2.50,<3"],
        "tensorrt": ["tensorrt>=10.13,<12", "cuda-python>=12.6,<14"],
        "tensorrt-rtx": ["tensorrt-rtx>=1.7,<2", "cuda-python>=12.6,<14"],
        "cuda": ["onnxruntime-gpu>=1.22,<2", "cuda-python>=12.6,<14"],
        "dev": [
            "pytest>=9,<10",
            "pytest-xdist>=3.8,<4",
            "hypothesis>=6.100,<7",
            "ruff>=0.17,<0.18",
            "mypy>=2.4,<3",
            "pre-commit>=4,<5",
            "types-PyYAML>=6,<7",
            "torchmetrics>=1.9,<2",
        ],
    },
    entry_points={
        "console_scripts": ["odise-trt = odise_trt.cli:main"],
        "odise_trt.commands": [
            "bench = benchmarks.cli:app",
            "build = export.cli:build",
            "data = reference.datasets.cli:app",
            "eval = reference.eval.cli:eval_command",
            "features = reference.features.cli:features",
            "scenes = reference.scenes.cli:scenes",
            "train = reference.training.cli:train",
            "train-demo = reference.demo.cli:train_demo",
        ],
    },
    classifiers=[
        "Programming Language :: Python :: 3",
        "Topic :: Scientific/Engineering :: Image Recognition",
    ],
)
