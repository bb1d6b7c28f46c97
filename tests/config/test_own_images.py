"""params.yaml for images of one's own: what is asked for changes, and nothing else."""

import shutil
from pathlib import Path

import pytest

from anime_lora.config.own_images import own_params, with_own_images, yaml_scalar
from anime_lora.config.presets import FOLDER
from anime_lora.errors import ParamsError

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "params.yaml").read_text()


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(ROOT / FOLDER, tmp_path / FOLDER)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_sources_and_trigger_change_and_every_other_line_stays(project: Path) -> None:
    """Comments too; twice is once; the sample images' true answers are not another style's."""
    text, changes = with_own_images(TEXT, project / "faces", "zxyStyle")
    assert [change.path for change in changes] == ["concept.trigger", "ingest.sources", "validate_sample.counterparts"]
    pairs = [(old, new) for old, new in zip(TEXT.splitlines(), text.splitlines(), strict=True) if old != new]
    assert len(pairs) == 3
    assert all(old.partition("#")[2] == new.partition("#")[2] for old, new in pairs)
    params = own_params(text)
    assert params.ingest.sources == ("faces",)
    assert params.concept.instance_prompt == "zxyStyle anime_face portrait"
    assert params.train.validation_prompt == "zxyStyle anime_face girl, high quality"
    assert params.validate_sample.counterparts is None
    assert with_own_images(text, project / "faces", "zxyStyle") == (text, [])


def test_prompts_of_older_params_become_templates() -> None:
    """Where they spell the old words out; others stay as they are."""
    older = TEXT.replace('"{trigger} {class_name} portrait"', "myAnimeStyleToken anime_face portrait")
    older = older.replace('"{trigger} {class_name} girl, high quality"', "a girl")
    text, changes = with_own_images(older, Path("faces"), "zxyStyle", "face")
    assert {change.path for change in changes} >= {"concept.instance_prompt", "concept.class_name"}
    params = own_params(text)
    assert (params.concept.instance_prompt, params.train.validation_prompt) == ("zxyStyle face portrait", "a girl")


def test_a_preset_comes_first() -> None:
    text, _ = with_own_images(TEXT, Path("faces"), "zxyStyle", preset="sd15")
    params = own_params(text)
    assert (params.base.resolution, params.concept.trigger) == (512, "zxyStyle")
    with pytest.raises(ParamsError, match="no preset sdxl; the presets are: pocket, sd15"):
        with_own_images(TEXT, Path("faces"), "zxyStyle", preset="sdxl")


@pytest.mark.parametrize("name", ["a, b", "faces: mine", "my #1", "on", "12", "[x]", "it's", 'say "a"', "画像"])
def test_names_that_yaml_reads_otherwise_are_quoted(project: Path, name: str) -> None:
    text, _ = with_own_images(TEXT, project / name, "zxyStyle")
    assert own_params(text).ingest.sources == (name,)
    assert yaml_scalar("faces") == "faces"


def test_a_url_stays_as_it_is() -> None:
    text, _ = with_own_images(TEXT, "https://host/faces.zip", "zxyStyle")
    assert own_params(text).ingest.sources == ("https://host/faces.zip",)


def test_a_folder_outside_is_named_whole_and_one_that_is_emptied_is_refused(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    outside = tmp_path_factory.mktemp("outside")
    text, _ = with_own_images(TEXT, outside, "zxyStyle")
    assert own_params(text).ingest.sources == (outside.as_posix(),)
    with pytest.raises(ParamsError, match=r"ingest\.sources\.0 = 'data/ingest/mine': it lies in data/ingest"):
        own_params(with_own_images(TEXT, Path("data/ingest/mine"), "zxyStyle")[0])
