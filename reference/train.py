"""`python -m reference.train` is `odise-trt train`."""

from odise_trt.cli import door

if __name__ == "__main__":
    door("reference.training.cli:train", "python -m reference.train")
