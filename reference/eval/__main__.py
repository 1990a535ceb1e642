"""`python -m reference.eval` is `odise-trt eval --reference`."""

from odise_trt.cli import door

if __name__ == "__main__":
    door("reference.eval.cli:eval_command", "python -m reference.eval", "--reference")
