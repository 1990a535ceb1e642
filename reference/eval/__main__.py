"""`python -m reference.eval`."""

from odise_trt.cli import boundary


def main() -> None:
    """Entry point."""
    from reference.eval.cli import app

    app(prog_name="python -m reference.eval")


if __name__ == "__main__":
    boundary.run(main)
