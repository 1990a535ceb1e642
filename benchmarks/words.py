"""`python -m benchmarks.words` is `odise-trt bench synonyms`."""

from odise_trt.cli import door

if __name__ == "__main__":
    door("benchmarks.cli:synonyms", "python -m benchmarks.words")
