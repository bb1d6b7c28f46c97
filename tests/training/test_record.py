"""The record of a run and its model card."""

import json
from collections.abc import Callable
from pathlib import Path


def test_the_card_tells_lineage_choice_and_use(stage: Callable[..., Path]) -> None:
    """Base, dataset, params and code by their hashes, the reason, every epoch, and how to load the file."""
    out = stage()
    card, record = (out / "README.md").read_text(), json.loads((out / "record.json").read_text())
    for value in (
        record["base"]["weights_sha256"], record["dataset"]["sha256"], record["params_sha256"], record["version"],
        record["reason"], "load_lora_weights", "<lora:t_c:1>", "samples/epoch-0",
    ):  # fmt: skip
        assert value in card
    assert card.count("\n| 0 | 0 |") == card.count("\n| 2 | 6 |") == 1
