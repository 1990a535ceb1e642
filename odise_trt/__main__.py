"""`python -m odise_trt` is `odise-trt`."""

from .cli import main

if __name__ == "__main__":
    main()
