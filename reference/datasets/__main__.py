"""`python -m reference.datasets` is `odise-trt data`."""

from odise_trt.cli import door

if __name__ == "__main__":
    door("reference.datasets.cli:app", "python -m reference.datasets")
