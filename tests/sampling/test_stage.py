import json
import re
from pathlib import Path

import pytest
from PIL import Image

from anime_lora.config.sample import ValidateSample
from anime_lora.config.section import Base, Compute, Concept
from anime_lora.errors import AdapterError, SamplingError
from anime_lora.evaluation.image_sets import load_sources
from anime_lora.files import read_jsonl
from anime_lora.sampling.sources import counterpart_of, file_stem
from anime_lora.sampling.stage import validate_sample
from anime_lora.sampling.suite import shots

CONCEPT = Concept(trigger="myStyle", class_name="face", instance_prompt="myStyle face portrait")


def section(**changes: object) -> ValidateSample:
    values: dict[str, object] = {
        "seeds": (1, 2), "steps": 2, "guidance": 5.0, "negative_prompt": "", "batch_size": 8,
        "prompts": ("girl, red hair", "boy, blue hair"), "sweep_prompts": 2,
        "guidances": (1.0, 5.0), "scales": (0.0, 1.0),
        "styles": {"chibi": "chibi style"}, "style_prompts": ("girl",), "style_guidances": (5.0,),
        "unrelated_prompts": ("a photo", "a sketch"), "sources": None, "counterparts": None,
        "source_prompt": "portrait", "source_seeds": 1,
        "strengths": (0.5, 1.0), "base_strengths": (1.0,), "second_adapter": None, "controlnet": None,
    }  # fmt: skip
    return ValidateSample.model_validate({**values, **changes})


@pytest.fixture
def run(base: Base, compute: Compute, lora_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)

    def stage(**changes: object) -> Path:
        validate_sample(section(**changes), CONCEPT, base, compute, train=lora_file.parent)
        return tmp_path / "data/validate-sample"

    return stage


def test_stage(run, sources: Path) -> None:
    """Each image has its file and one line; every gallery its sheet and a small preview; zero LoRA is the base."""
    out = run(sources=str(sources), counterparts=str(sources))
    rows = read_jsonl(out / "images.jsonl")
    assert len(rows) == len({row["file"] for row in rows}) == json.loads((out / "suite.json").read_text())["pictures"]
    assert all((out / row["file"]).is_file() for row in rows)
    grids = {file.stem for file in (out / "grids").glob("*.png")}
    expected = {"base-lora", "features", "trigger", "styles", "guidance", "scale", "people", "strength-1", "drift"}
    assert grids == expected
    assert all(file.stat().st_size <= 300_000 for file in (out / "grids").glob("*.webp"))
    checks = json.loads((out / "checks.json").read_text())
    assert max(checks["zero"] + checks["unloaded"]) == 0
    assert max(checks["merged"] + checks["sum"]) < 1e-4 < min(checks["effect"])
    zero = {row["sha256"] for row in rows if row["gallery"] == "scale" and row["lora_scale"] == 0}
    assert zero <= {row["sha256"] for row in rows if row["arm"] == "base-trigger"}
    assert Image.open(out / "sources/a.png").size == (64, 64)


def test_same_bytes(run) -> None:
    """The stage run again with nothing remembered writes the same bytes."""
    first = {file.name: file.read_bytes() for file in run().rglob("*.*") if file.is_file()}
    for file in Path(".cache/samples").rglob("*.png"):
        file.unlink()
    second = {file.name: file.read_bytes() for file in run().rglob("*.*") if file.is_file()}
    assert first == second


def test_suite_id(run, sources: Path) -> None:
    """Another prompt or source is another suite; the same one has the same id."""
    ids = [json.loads((run(**changes) / "suite.json").read_text())["suite_id"]
           for changes in ({}, {}, {"source_prompt": "x"}, {"sources": str(sources)}, {"seeds": (3, 4)})]  # fmt: skip
    assert ids[0] == ids[1] == ids[2]
    assert len(set(ids)) == 3


def test_second_adapter(run, lora_file: Path) -> None:
    """A second LoRA is used alone and together with the first."""
    out = run(second_adapter=str(lora_file))
    generated = {row["arm"]: row["sha256"] for row in read_jsonl(out / "images.jsonl") if row["gallery"] == "combining"}
    assert generated["lora"] == generated["second"] != generated["both"] != generated["base"]


def test_controlnet(run, sources: Path, controlnet: Path) -> None:
    """Each source is generated with the ControlNet at 0.8 too, beside the others on the sheet; it is another suite."""
    out = run(sources=str(sources))
    before = json.loads((out / "suite.json").read_text())["suite_id"]
    out = run(sources=str(sources), controlnet=str(controlnet), source_seeds=2)
    rows = [row for row in read_jsonl(out / "images.jsonl") if row["arm"] == "control"]
    assert {(row["source"], row["seed"], row["strength"]) for row in rows} == {
        (source, seed, 0.8) for source in ("a.png", "b.png") for seed in (1, 2)
    }
    assert all((out / row["file"]).is_file() for row in rows)
    assert json.loads((out / "suite.json").read_text())["suite_id"] != before


def test_missing(run, base: Base, compute: Compute, tmp_path: Path) -> None:
    """No LoRA, a damaged one, or no source: one clear error and nothing half-written."""
    with pytest.raises(SamplingError, match="no image"):
        run(sources=str(tmp_path))
    with pytest.raises(SamplingError, match="counterparts = nowhere"):
        run(counterparts="nowhere")
    with pytest.raises(AdapterError, match=r"validate_sample\.second_adapter"):
        run(second_adapter="nowhere.safetensors")
    (tmp_path / "people").mkdir()
    (tmp_path / "people/a.png").write_bytes(b"no image")
    with pytest.raises(SamplingError, match=r"a\.png cannot be read as an image"):
        run(sources=str(tmp_path / "people"))
    with pytest.raises(AdapterError, match="is not there"):
        validate_sample(section(), CONCEPT, base, compute, train=tmp_path)
    (tmp_path / "pytorch_lora_weights.safetensors").write_bytes(b"nothing of the kind")
    with pytest.raises(AdapterError, match="does not load"):
        validate_sample(section(), CONCEPT, base, compute, train=tmp_path)
    assert not (tmp_path / "data").exists() or not list((tmp_path / "data").iterdir())


NAMES = ("a.jpg", "a.png", "B.JPEG", "b.png", "my face.webp", "my_face.png", "顔.png", "😀.png", "😀😀.png", "x.JPG")


def test_every_source_has_files_of_its_own_whatever_its_name(run, tmp_path: Path) -> None:
    """Suffixes, one stem twice, emoji, spaces, other scripts: what was seen of each is what it shows, once."""
    people, truth = tmp_path / "people", tmp_path / "truth"
    people.mkdir()
    truth.mkdir()
    colours = {name: (20 * number, 255 - 20 * number, 128) for number, name in enumerate(NAMES)}
    for name, colour in colours.items():
        Image.new("RGB", (64, 64), colour).save(people / name)
    (people / ".hidden.png").write_bytes(b"left by a desktop")
    for name in ("a.png", "B.webp", "顔.png", "my face.png"):
        Image.new("RGB", (64, 64), colours.get(name, (0, 0, 0))).save(truth / name)
    out = run(sources=str(people), counterparts=str(truth))
    rows = [row for row in read_jsonl(out / "images.jsonl") if row["gallery"] == "strength"]
    assert sorted(row["source"] for row in rows) == sorted(3 * NAMES)
    assert len({row["file"].casefold() for row in rows}) == len(rows)
    assert all((out / row["file"]).is_file() for row in rows)
    seen = load_sources(out, "sources").table
    assert sorted(seen["source"]) == sorted(NAMES)
    for name, path in zip(seen["source"], seen["path"], strict=True):
        pixel = Image.open(path).getpixel((32, 32))
        assert max(abs(one - other) for one, other in zip(pixel, colours[name], strict=True)) < 6, name
    assert set(load_sources(out, "counterparts").table["source"]) == {"a.png", "B.JPEG", "顔.png", "my face.webp"}


@pytest.mark.parametrize(("name", "expected"), [
    ("01.png", "01"), ("blue-hair.png", "blue-hair"), ("retro 90s.png", "retro_90s"),
    ("x.jpg", "x-8f3c0b84"), ("none.png", "none-"), ("0123abcd.png", "0123abcd-"), ("😀.png", ""), ("A.png", "a-"),
])  # fmt: skip
def test_plain_names_stay_and_others_get_a_hash(name: str, expected: str) -> None:
    """The default run's files are called as before."""
    found = file_stem(name)
    assert found == expected or (expected != name[:-4] and re.fullmatch(f"{re.escape(expected)}[0-9a-f]{{8}}", found))


def test_no_two_names_share_a_file() -> None:
    """Neither on a disk for which upper and lower case are one; and any length fits."""
    long = "長" * 80
    names = [*NAMES, "A.PNG", "A.png", "a b.png", "a_b.png", "a  b.png", "é.png", "e\u0301.png", "none.png", "-.png"]
    names += [f"{file_stem('x.jpg')}.png", f"{file_stem('😀.png')}.png", f"{long}.png", f"{long}1.png", "a.png.png"]
    stems = {file_stem(name).casefold() for name in names}
    assert len(stems) == len(names)
    assert max(len(stem.encode()) for stem in stems) <= 49


@pytest.mark.parametrize(("source", "sources", "there", "expected"), [
    ("a.png", ["a.png"], ["a.jpg", "a.png"], "a.png"), ("a.jpg", ["a.jpg"], ["a.webp"], "a.webp"),
    ("a.jpg", ["a.jpg"], ["a.webp", "a.png"], None), ("a.jpg", ["a.jpg", "a.png"], ["a.webp"], None),
    ("a.jpg", ["a.jpg"], ["b.jpg"], None),
])  # fmt: skip
def test_a_counterpart_has_the_source_s_name_or_alone_its_stem(
    source: str, sources: list[str], there: list[str], expected: str | None
) -> None:
    found = counterpart_of(source, [Path(name) for name in sources], [Path(name) for name in there])
    assert (found.name if found else None) == expected


def test_styles_that_differ_in_signs_only_are_two_images() -> None:
    """So do values that differ behind the sixth digit."""
    styles = dict.fromkeys(("chibi", "chibi!", "chibi?", "none", "✨", "✨✨"), "chibi style")
    generated = shots(section(styles=styles, guidances=(7.5, 7.5000001, 5.0)), CONCEPT)
    assert len({shot.name for shot in generated}) == len(generated)
