"""`python -m odise_trt` runs the command line `odise-trt`."""

from .cli import main

if __name__ == "__main__":
    main()
