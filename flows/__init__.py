"""Whole runs: the chain of the seven stages as a Prefect flow, the retraining around it, rollback, and their commands.

`champion/` decides and publishes, `runtime/` is what a run needs of the machine. Here may be imported: Prefect, DVC,
`tasks`, and of the library what `champion` and `runtime` name; no training code, since stages are processes.
"""
