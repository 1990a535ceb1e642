"""`python -m reference.visualize_features` is `odise-trt features`."""

from odise_trt.cli import door

if __name__ == "__main__":
    door("reference.features.cli:features", "python -m reference.visualize_features")
