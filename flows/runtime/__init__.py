"""What a run needs of the machine: processes, Git and DVC, the run lock, Prefect's environment, notifications.

Here may be imported: Prefect, DVC, `flows.errors`, `tasks`, and of the library `config`, `errors` and `files`; nothing
of `flows.champion` and no flow.
"""
