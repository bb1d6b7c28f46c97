"""No path setting may point to what DVC or a stage empties."""

import copy
import os
import typing
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from anime_lora.config.load import Params, check_params, load_params, read_document
from anime_lora.config.path_settings import SETTINGS, path_error
from anime_lora.errors import ParamsError

PARAMS = Path(__file__).parents[2] / "params.yaml"
WORDS = {
    "concept.trigger", "concept.class_name", "concept.instance_prompt", "base.revision", "organize.holdout_salt",
    "train.prior_prompt", "train.validation_prompt", "validate_sample.negative_prompt", "validate_sample.prompts",
    "validate_sample.styles", "validate_sample.style_prompts", "validate_sample.unrelated_prompts",
    "validate_sample.source_prompt", "evaluate.attributes", "evaluate.domains", "evaluate.style_domain",
    "compute.dask_address",
}  # fmt: skip
"""Settings of free text that is no path."""


@pytest.fixture
def document(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The project's settings, read in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return copy.deepcopy(read_document(PARAMS))


def texts(annotation: Any) -> bool:
    """Whether free text fits the annotation of a field, at whatever depth."""
    return annotation is str or any(texts(part) for part in typing.get_args(annotation))


def test_every_setting_of_text_is_known_as_a_path_or_as_words() -> None:
    """A new setting that names a path has to be listed, or this fails."""
    found = set()
    for name, section in Params.model_fields.items():
        assert isinstance(section.annotation, type)
        assert issubclass(section.annotation, BaseModel)
        for key, field in section.annotation.model_fields.items():
            if texts(field.annotation) and "Literal" not in str(field.annotation):
                found.add(f"{section.alias or name}.{key}")
    assert found == {*SETTINGS, *WORDS}


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("value", ["data/resize", "data/train/mine", "data", ".cache/mine", ".dvc/cache/files"])
def test_a_path_that_is_lies_in_or_holds_an_output_is_refused(
    document: dict[str, Any], setting: str, value: str
) -> None:
    section, key = setting.split(".")
    many = isinstance(document[section][key], list)
    document[section][key] = ["elsewhere", value] if many else value
    with pytest.raises(ParamsError) as caught:
        check_params(document)
    assert f"{setting}{'.1' if many else ''} = {value!r}: it " in str(caught.value)
    assert "1 value does not fit" in str(caught.value)


def test_all_faults_are_told_at_once(document: dict[str, Any]) -> None:
    """Those of paths beside those of numbers, each with what to do."""
    document["train"]["rank"] = 0
    document["ingest"]["sources"] = ["data/ingest/mine", "data/mine", "data/validate"]
    document["evaluate"]["champion"] = "data/evaluate/scores.json"
    with pytest.raises(ParamsError) as caught:
        check_params(document)
    message = str(caught.value)
    assert message.startswith("params.yaml: 4 values do not fit")
    assert "train.rank = 0" in message
    assert (
        "ingest.sources.0 = 'data/ingest/mine': it lies in data/ingest, which DVC and `ingest` empty; "
        "move it elsewhere, such as data/mine, and name that; change it in params.yaml"
    ) in message
    assert "ingest.sources.2 = 'data/validate': it is data/validate" in message
    assert "evaluate.champion = 'data/evaluate/scores.json': it lies in data/evaluate" in message


def test_the_way_a_path_is_written_does_not_matter(document: dict[str, Any]) -> None:
    """Dots, an absolute path, links to it and in it, URLs of this machine and chains of them."""
    Path("data/ingest/mine").mkdir(parents=True)
    Path("link").symlink_to("data/ingest/mine")
    Path("own").mkdir()
    Path("data/ingest/own").symlink_to(Path("own").absolute())
    bad = [
        "./own/../data//ingest/mine/", str(Path("data/ingest/mine").absolute()), "link", "data/ingest/own", ".",
        f"file://{Path('data/ingest/mine').absolute()}", "zip://*.png::data/ingest/faces.zip",
    ]  # fmt: skip
    assert [value for value in bad if path_error(value) is None] == []


def test_an_output_that_lies_on_another_disk_is_seen_through_its_link(document: dict[str, Any]) -> None:
    Path("disk/mine").mkdir(parents=True)
    Path("data").mkdir()
    Path("data/ingest").symlink_to(Path("disk").absolute())
    assert path_error("disk/mine") is not None
    assert path_error("disk2/mine") is None


def test_upper_case_is_the_same_folder_where_the_disk_takes_it_so(
    document: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a disk that tells them apart, the other folder is the user's own."""
    Path("data/ingest/mine").mkdir(parents=True)
    Path("DATA/Ingest/mine").mkdir(parents=True, exist_ok=True)
    same = Path("DATA/Ingest").samefile("data/ingest")
    assert (path_error("DATA/Ingest/mine") is not None) == same
    real = os.path.samestat
    here, there = Path("DATA/Ingest").stat(), Path("data/ingest").stat()
    monkeypatch.setattr(
        "os.path.samestat", lambda a, b: real(a, b) or {a.st_ino, b.st_ino} == {here.st_ino, there.st_ino}
    )
    assert path_error("DATA/Ingest/mine") is not None


@pytest.mark.parametrize("value", [
    "data/samples/anime", "data/ingested", "data/ingest.zip", "models/champion/scores.json", "../data/ingest",
    "stable-diffusion-v1-5/stable-diffusion-v1-5", "s3://bucket/data/ingest", "https://host/data/ingest", "~",
    "data/base/pocket", "a\0b",
])  # fmt: skip
def test_what_nobody_empties_is_let_through(document: dict[str, Any], value: str) -> None:
    assert path_error(value) is None


def test_the_project_s_own_settings_and_presets_pass() -> None:
    assert load_params(PARAMS)
