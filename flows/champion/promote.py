"""Promotion as a transaction: the challenger is published, must load and generate, or the champion is put back."""

import sys

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.logging import get_run_logger
from prefect.transactions import Transaction, transaction

from flows.champion import store
from flows.errors import SmokeTestError, StageFailedError
from tasks.cancel import CancelWatch
from tasks.process_group import stream_command


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
        with CancelWatch() as check_cancelled:
            stream_command("the smoke test", command, get_run_logger().info, check_cancelled)
    except StageFailedError as error:
        raise SmokeTestError(f"smoke test of the published file: {error}") from None


def promote() -> None:
    """Publish and test; the champion is the challenger afterwards, or the one before when this raises.

    Raises:
        SmokeTestError: the challenger generates no image.
    """
    with transaction():
        publish()
        smoke_test()
