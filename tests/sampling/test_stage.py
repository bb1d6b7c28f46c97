from pathlib import Path

import pytest
from PIL import Image

from anime_lora.config.section import Base, Compute
from anime_lora.errors import AdapterError, SamplingError
from anime_lora.files import sha256_file
from anime_lora.sampling.results import read_adapter_checks, read_generated, read_suite
from anime_lora.sampling.sources import read_sources
from anime_lora.sampling.stage import validate_sample
from anime_lora.sampling.suite import shots, suite_id
from tests.support.small_suite import CONCEPT, SOURCE_NAMES, small_suite


@pytest.fixture
def run(base: Base, compute: Compute, lora_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)

    def stage(**changes: object) -> Path:
        validate_sample(small_suite(**changes), CONCEPT, base, compute, train=lora_file.parent)
        return tmp_path / "data/validate-sample"

    return stage


def test_each_image_has_its_file_and_row_and_each_gallery_its_sheet(run, sources: Path) -> None:
    """With a small preview beside it; the LoRA at weight 0 gives the base's image."""
    out = run(sources=str(sources), counterparts=str(sources))
    images, suite = read_generated(out), read_suite(out)
    assert len(images) == len({image.file for image in images}) == suite.image_count
    assert all(sha256_file(out / image.file) == image.sha256 for image in images)
    assert suite.params == small_suite(sources=str(sources), counterparts=str(sources))
    assert suite.suite_id == suite_id(shots(suite.params, CONCEPT), str(sources), suite.identity, None)
    grids = {file.stem for file in (out / "grids").glob("*.png")}
    expected = {"base-lora", "features", "trigger", "styles", "guidance", "scale", "people", "strength-1", "drift"}
    assert grids == expected
    assert all(file.stat().st_size <= 300_000 for file in (out / "grids").glob("*.webp"))
    checks = read_adapter_checks(out)
    assert max(checks.zero + checks.unloaded) == 0
    assert max(checks.merged + checks.sum) < 1e-4 < min(checks.effect)
    zero = {image.sha256 for image in images if image.gallery == "scale" and image.lora_scale == 0}
    assert len(zero) == 2
    assert zero <= {image.sha256 for image in images if image.arm == "base-trigger"}
    assert Image.open(out / "sources/a.png").size == (64, 64)


def test_the_stage_run_again_with_an_empty_memo_writes_the_same_bytes(run) -> None:
    first = {file.name: file.read_bytes() for file in run().rglob("*.*") if file.is_file()}
    for file in Path(".cache/samples").rglob("*.png"):
        file.unlink()
    second = {file.name: file.read_bytes() for file in run().rglob("*.*") if file.is_file()}
    assert first == second


def test_a_second_lora_is_used_alone_and_together_with_the_first(run, lora_file: Path) -> None:
    out = run(second_adapter=str(lora_file))
    generated = {image.arm: image.sha256 for image in read_generated(out) if image.gallery == "combining"}
    assert generated["lora"] == generated["second"] != generated["both"] != generated["base"]


def test_each_source_is_generated_with_the_controlnet_too(run, sources: Path, controlnet: Path) -> None:
    """At 0.8, beside the others on the sheet; its numbers are not comparable with those without."""
    out = run(sources=str(sources))
    before = read_suite(out).suite_id
    out = run(sources=str(sources), controlnet=str(controlnet), source_seeds=2)
    images = [image for image in read_generated(out) if image.arm == "control"]
    assert {(image.source, image.seed, image.strength) for image in images} == {
        (source, seed, 0.8) for source in ("a.png", "b.png") for seed in (1, 2)
    }
    assert all((out / image.file).is_file() for image in images)
    assert read_suite(out).suite_id != before


def test_what_is_missing_or_damaged_is_one_clear_error_and_leaves_nothing_half_written(
    run, base: Base, compute: Compute, tmp_path: Path
) -> None:
    """LoRA, second LoRA, sources, counterparts."""
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
        validate_sample(small_suite(), CONCEPT, base, compute, train=tmp_path)
    (tmp_path / "pytorch_lora_weights.safetensors").write_bytes(b"nothing of the kind")
    with pytest.raises(AdapterError, match="is plain text"):
        validate_sample(small_suite(), CONCEPT, base, compute, train=tmp_path)
    assert not (tmp_path / "data").exists() or not list((tmp_path / "data").iterdir())


def test_every_source_has_files_of_its_own_whatever_its_name(run, tmp_path: Path) -> None:
    """Suffixes, one stem twice, emoji, spaces, other scripts: what was seen of each is what it shows, once."""
    people, truth = tmp_path / "people", tmp_path / "truth"
    people.mkdir()
    truth.mkdir()
    colours = {name: (20 * number, 255 - 20 * number, 128) for number, name in enumerate(SOURCE_NAMES)}
    for name, colour in colours.items():
        Image.new("RGB", (64, 64), colour).save(people / name)
    (people / ".hidden.png").write_bytes(b"left by a desktop")
    for name in ("a.png", "B.webp", "顔.png", "my face.png"):
        Image.new("RGB", (64, 64), colours.get(name, (0, 0, 0))).save(truth / name)
    out = run(sources=str(people), counterparts=str(truth))
    images = [image for image in read_generated(out) if image.gallery == "strength"]
    assert sorted(str(image.source) for image in images) == sorted(3 * SOURCE_NAMES)
    assert len({image.file.casefold() for image in images}) == len(images)
    assert all((out / image.file).is_file() for image in images)
    placed = read_sources(out)
    assert sorted(image.source for image in placed) == sorted(SOURCE_NAMES)
    for image in placed:
        pixel = Image.open(out / image.file).getpixel((32, 32))
        assert max(abs(one - other) for one, other in zip(pixel, colours[image.source], strict=True)) < 6, image.source
    known = {image.source for image in placed if (out / image.counterpart).is_file()}
    assert known == {"a.png", "B.JPEG", "顔.png", "my face.webp"}


@pytest.mark.parametrize("setting", ["sources", "counterparts"])
def test_a_damaged_source_is_named_before_anything_is_generated(
    run, sources: Path, tmp_path: Path, setting: str
) -> None:
    """Also the last one of many; hidden files beside them do not count."""
    folder = tmp_path / "people"
    folder.mkdir()
    for number in range(3):
        Image.open(sources / "a.png").save(folder / f"{number}.png")
    (folder / ".z.png").write_bytes(b"not an image")
    (folder / "z.gif").write_bytes((folder / "0.png").read_bytes()[:100])
    with pytest.raises(SamplingError, match=r"source .*z\.gif cannot be read as an image: damaged"):
        run(**{"sources": str(sources), setting: str(folder)})
    assert not list(Path(".cache/samples").rglob("*.png"))
