"""`python -m faceverif`, for launchers such as torchrun."""

from faceverif.cli import main

if __name__ == "__main__":
    main()
