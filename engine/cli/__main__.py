"""`python -m engine.cli`: the command where it is not installed, and how the engine starts its companions."""

from engine.cli import main

if __name__ == "__main__":
    main()
