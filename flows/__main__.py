"""`python -m flows`: the commands for whole runs, which are in `flows.cli`."""

from flows.cli import app

if __name__ == "__main__":
    app()
