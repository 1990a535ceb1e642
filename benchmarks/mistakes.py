"""`python -m benchmarks.mistakes` is `odise-trt bench confusion`."""

from odise_trt.cli import door

if __name__ == "__main__":
    door("benchmarks.cli:confusion", "python -m benchmarks.mistakes")
