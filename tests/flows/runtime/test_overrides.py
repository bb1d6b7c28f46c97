"""An override of params.yaml: what it changes, and how it is taken back."""

import logging
from pathlib import Path

import pytest

from anime_lora.config.load import read_document
from anime_lora.errors import ParamsError
from anime_lora.files import write_bytes
from flows.runtime.overrides import apply_overrides, keep_override, override_params, restore_params
from tests.house.doors import ROOT


def test_an_override_changes_its_value_and_nothing_else_and_is_taken_back(tmp_path: Path) -> None:
    """Inside the block the file holds the value; after it, also after an error, its old bytes, unless it is kept."""
    params, before = tmp_path / "params.yaml", tmp_path / "before"
    text = (ROOT / "params.yaml").read_bytes()
    write_bytes(params, text)
    with (
        pytest.raises(ZeroDivisionError),
        override_params(["train.rank=8", "retrain.max_age_days=null"], params, before),
    ):
        values = read_document(params)
        assert (values["train"]["rank"], values["retrain"]["max_age_days"]) == (8, None)
        raise ZeroDivisionError
    assert params.read_bytes() == text
    with override_params(["train.rank=8"], params, before):
        keep_override(before)
    assert params.read_text() == apply_overrides(text.decode(), ["train.rank=8"])
    restore_params(params, before)
    assert read_document(params)["train"]["rank"] == 8


def test_an_edit_made_after_a_kill_is_not_taken_back_with_the_override(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It is nobody's to throw away; preflight then asks for its commit, and the log says why."""
    params, before = tmp_path / "params.yaml", tmp_path / "before"
    write_bytes(params, (ROOT / "params.yaml").read_bytes())
    set_once = override_params(["train.rank=8"], params, before)
    set_once.__enter__()
    edited = params.read_text().replace("min_new_images: ", "min_new_images: 1")
    write_bytes(params, edited.encode())
    logging.getLogger("prefect").propagate = True
    with caplog.at_level(logging.WARNING, "prefect.overrides"):
        restore_params(params, before)
    assert params.read_text() == edited
    assert "was edited after an override" in caplog.text
    assert not before.exists()


@pytest.mark.parametrize(("change", "says"), [
    ("train.rnak=8", "train.rnak is no value of params.yaml"),
    ("train.rank", "is no key=value"),
    ("train.rank=0", "train.rank = 0: input should be greater than or equal to 1"),
    ("train=8", "train is no value"),
])  # fmt: skip
def test_a_wrong_override_is_one_error(change: str, says: str) -> None:
    """The message names the override and what is wrong with it."""
    with pytest.raises(ParamsError, match=says):
        apply_overrides((ROOT / "params.yaml").read_text(), [change])
