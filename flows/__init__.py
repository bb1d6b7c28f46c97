"""The chain of the seven stages as a Prefect flow, the nightly retraining around it, and their commands."""
