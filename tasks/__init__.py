"""One Prefect task per stage: DVC brings the stage up to date, the task shows its results in Prefect's pages.

Here may be imported: Prefect, and of the library `config`, `data`, `errors` and `files`. Nothing of `flows`; no
training code, since a task starts its stage as a process.
"""
