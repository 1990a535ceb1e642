"""`python -m benchmarks.gpu`."""

from odise_trt.cli import boundary


def _main() -> None:
    import typer

    from benchmarks.gpu.command import main

    typer.run(main)


if __name__ == "__main__":
    boundary.run(_main)
