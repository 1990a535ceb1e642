"""`python -m benchmarks.gpu` is `odise-trt bench gpu`."""

from odise_trt.cli import door

if __name__ == "__main__":
    door("benchmarks.gpu.command:main", "python -m benchmarks.gpu")
