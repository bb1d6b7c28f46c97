"""Promotion as a transaction: the challenger is published, must load and generate, or the champion is put back."""

import sys

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.logging import get_run_logger
from prefect.transactions import Transaction, transaction

from flows.champion import store
from flows.champion.store import SmokeTestError
from tasks.cancel import Cancel
from tasks.dvc_process import StageFailedError, listened


@task(name="publish", task_run_name="publish", cache_policy=NO_CACHE, persist_result=False)
def publish() -> None:
    """Make the challenger the champion."""
    store.publish()


@publish.on_rollback
def withdraw(_: Transaction) -> None:
    """Put the champion back that HEAD names."""
    store.restore()


@task(name="smoke-test", task_run_name="smoke-test", cache_policy=NO_CACHE, persist_result=False)
def smoke_test() -> None:
    """Load the published file onto the base in a process of its own, and generate an image.

    Raises:
        SmokeTestError: it does not load, or generates nothing finite.
    """
    command = [sys.executable, "-m", "anime_lora", "check-adapter", str(store.FOLDER / store.ADAPTER)]
    try:
        with Cancel() as ticked:
            listened("the smoke test", command, get_run_logger().info, ticked)
    except StageFailedError as error:
        raise SmokeTestError(f"smoke test of the published file: {error}") from None


def promote() -> None:
    """Publish and try; the champion is the challenger afterwards, or the one before when this raises.

    Raises:
        SmokeTestError: the challenger generates no image.
    """
    with transaction():
        publish()
        smoke_test()
