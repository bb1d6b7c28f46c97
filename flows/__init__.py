"""The chain of the seven stages as a Prefect flow, and its commands: `python -m flows run`, `python -m flows ui`."""
