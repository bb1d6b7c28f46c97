import json
from collections.abc import Callable
from pathlib import Path

import pytest

from anime_lora.errors import SamplingError
from anime_lora.sampling.results import (
    AdapterChecks,
    GeneratedImage,
    GeneratedSuite,
    read_adapter_checks,
    read_generated,
    read_suite,
    write_adapter_checks,
    write_generated,
    write_suite,
)
from anime_lora.sampling.suite import ModelIdentity, shots
from tests.support.small_suite import CONCEPT, small_suite

IMAGES = [
    GeneratedImage(**vars(shot), file=f"images/{shot.name}.png", sampler="DDIM", sha256="0" * 64)
    for shot in shots(small_suite(), CONCEPT)
]
CHECKS = AdapterChecks(
    prompts=("girl", "boy"), zero=(0.0, 0.0), merged=(1e-6, 0.0), sum=(0.0, 2e-6), unloaded=(0.0, 0.0),
    effect=(0.1, 0.2), second=False, shares=(0.4, 0.6), dtype="torch.float32", finite=True,
)  # fmt: skip
SUITE = GeneratedSuite(
    suite_id="5" * 64,
    image_count=len(IMAGES),
    identity=ModelIdentity(base="0", configs="1", sampler="DDIM 2", resolution=64, dtype="torch.float32"),
    adapters={"style": "6" * 64},
    concept=CONCEPT,
    params=small_suite(),
)


def test_what_was_written_is_read_back(tmp_path: Path) -> None:
    write_generated(tmp_path, IMAGES)
    write_adapter_checks(tmp_path, CHECKS)
    write_suite(tmp_path, SUITE)
    assert read_generated(tmp_path) == IMAGES
    assert read_adapter_checks(tmp_path) == CHECKS
    assert read_suite(tmp_path) == SUITE


def test_a_row_holds_the_shot_s_fields_beside_the_file_s(tmp_path: Path) -> None:
    """So a table of the rows has a column for each."""
    write_generated(tmp_path, IMAGES[:1])
    row = json.loads((tmp_path / "images.jsonl").read_text())
    assert set(row) == {
        "gallery", "arm", "cluster", "prompt", "negative_prompt", "seed", "steps", "guidance", "lora_scale", "trigger",
        "strength", "source", "style", "ordinal", "file", "sampler", "sha256",
    }  # fmt: skip
    assert row["prompt"] == "face girl, red hair"


@pytest.mark.parametrize(("name", "read"), [
    ("images.jsonl", read_generated), ("checks.json", read_adapter_checks), ("suite.json", read_suite),
])  # fmt: skip
@pytest.mark.parametrize("content", [None, "{", '{"file": "images/a.png"}\n', "[]\n"])
def test_a_missing_or_damaged_file_says_what_to_run(
    name: str, read: Callable[[Path], object], content: str | None, tmp_path: Path
) -> None:
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(SamplingError, match=rf"{name} cannot be read: run `dvc repro validate-sample` first"):
        read(tmp_path)
