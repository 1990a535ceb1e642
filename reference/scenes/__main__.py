"""`python -m reference.scenes` is `odise-trt scenes`."""

from odise_trt.cli import door

if __name__ == "__main__":
    door("reference.scenes.cli:scenes", "python -m reference.scenes")
