"""`python -m reference.demo` is `odise-trt train-demo`."""

from odise_trt.cli import door

if __name__ == "__main__":
    door("reference.demo.cli:train_demo", "python -m reference.demo")
