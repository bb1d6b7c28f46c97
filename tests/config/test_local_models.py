"""Hashes of the local models that settings name."""

import json
from pathlib import Path

import pytest

from anime_lora.config import local_models as module
from anime_lora.config.load import Params, load_params
from anime_lora.config.local_models import local_models
from anime_lora.config.paths import PARAMS


@pytest.fixture
def params(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Params:
    """The project's parameters with a base in a folder, an encoder in a file, and a ControlNet on the hub."""
    params = load_params(PARAMS)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "base/unet").mkdir(parents=True)
    (tmp_path / "base/unet/weights").write_text("one")
    (tmp_path / "base/.git").write_text("hidden")
    (tmp_path / "encoder").write_text("two")
    return params.model_copy(
        update={
            "base": params.base.model_copy(update={"model": "base"}),
            "validate_sample": params.validate_sample.model_copy(update={"controlnet": "someone/on-the-hub"}),
            "evaluate": params.evaluate.model_copy(update={"encoders": ["encoder"]}),
        }
    )


def test_what_lies_here_has_a_hash_that_follows_its_files(params: Params, tmp_path: Path) -> None:
    """A changed, added or renamed file of a folder changes its hash alone; hidden files and hub ids have none."""
    before = local_models(params)
    assert set(before) == {"base", "encoder"}
    (tmp_path / "base/.git").write_text("hidden, changed")
    assert local_models(params) == before
    (tmp_path / "base/unet/weights").write_text("one, changed")
    changed = local_models(params)
    (tmp_path / "base/unet/weights").rename(tmp_path / "base/weights")
    renamed = local_models(params)
    assert len({hashes["base"] for hashes in (before, changed, renamed)}) == 3
    assert len({hashes["encoder"] for hashes in (before, changed, renamed)}) == 1


def test_a_file_that_did_not_change_is_read_once(params: Params, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its hash is known by size and time of change; a damaged memory of them is passed over."""
    read: list[Path] = []
    hash_of = module.sha256_file
    monkeypatch.setattr(module, "sha256_file", lambda file: read.append(file) or hash_of(file))
    first = local_models(params)
    assert len(read) == 2
    assert local_models(params) == first
    assert len(read) == 2
    module.HASHES.write_text(json.dumps([1]))
    assert local_models(params) == first
    assert len(read) == 4
