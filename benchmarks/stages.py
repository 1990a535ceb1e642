"""`python -m benchmarks.stages` is `odise-trt bench stages`."""

from odise_trt.cli import door

if __name__ == "__main__":
    door("benchmarks.cli:stages", "python -m benchmarks.stages")
