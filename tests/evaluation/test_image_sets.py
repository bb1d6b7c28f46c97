from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from anime_lora.data.manifest import DatasetImage
from anime_lora.errors import DatasetError, EvaluationError
from anime_lora.evaluation.image_sets import ImageSet, ImageSets, encode, load_dataset, load_originals
from anime_lora.files import sha256_file, write_jsonl
from tests.support.world import COLOURS, Eye, face

NONE = ImageSet(pd.DataFrame({"path": []}), {})


def generated(*rows: tuple[str, str, str, int]) -> ImageSets:
    table = pd.DataFrame(rows, columns=["gallery", "arm", "cluster", "seed"])
    return ImageSets(ImageSet(table, {}), NONE, NONE, NONE, NONE, NONE, size=64, resamples=100, seed=1)


def test_units_are_paired_by_prompt_and_seed_and_incomplete_ones_are_left_out() -> None:
    images = generated(
        ("drift", "base", "cat", 1), ("drift", "lora", "cat", 1), ("drift", "base", "dog", 1),
        ("scale", "lora", "cat", 1), ("drift", "lora", "cat", 2), ("drift", "base", "cat", 2),
    )  # fmt: skip
    units = images.paired("drift", "arm")
    assert units.to_dict("index") == {("cat", 1): {"base": 0, "lora": 1}, ("cat", 2): {"base": 5, "lora": 4}}


def test_the_trigger_units_hold_a_row_for_each_cell() -> None:
    arms = ("lora-trigger", "base-plain", "base-trigger", "lora-plain")
    units = generated(*(("trigger", arm, "girl", 7) for arm in arms)).trigger_units()
    assert (units.prompts, units.names, len(units)) == (["girl"], ["girl | 7"], 1)
    cells = (units.base_plain, units.base_trigger, units.lora_plain, units.lora_trigger)
    assert [rows.tolist() for rows in cells] == [[1], [2], [3], [0]]


def test_resamples_depend_on_the_seed_and_on_what_is_measured() -> None:
    images = generated()
    style, again, drift = (images.resample("abcdef", what).weights for what in ("style", "style", "drift"))
    assert (style == again).all()
    assert (style != drift).any()


def test_an_encoder_sees_every_image_at_the_size_of_the_base(tmp_path: Path) -> None:
    for name, colour in COLOURS.items():
        face(colour, np.zeros(8), 0).resize((100, 100)).save(tmp_path / f"{name}.png")
    images = ImageSet(pd.DataFrame({"path": sorted(tmp_path.glob("*.png"))}), {})
    assert {image.size for image in images.images(64)} == {(64, 64)}
    assert {image.size for image in images.native()} == {(100, 100)}
    encode(images, Eye(), 64)
    assert np.linalg.norm(images.vectors["eye"], axis=1) == pytest.approx(np.ones(4))


def test_a_dataset_is_split_as_organize_wrote_it(tmp_path: Path) -> None:
    rows = []
    for n, split in enumerate(("train", "holdout", "train")):
        file = f"{n}.png"
        Image.new("RGB", (8, 8)).save(tmp_path / file)
        marks = {"id": f"{n}", "cluster": "", "pixel_sha256": "", "file_sha256": sha256_file(tmp_path / file)}
        rows.append(DatasetImage(file, file, text="", caption=None, split=split, **marks))
    write_jsonl(tmp_path / "metadata.jsonl", map(asdict, rows))
    train, holdout = load_dataset(tmp_path)
    assert (list(train.table["id"]), list(holdout.table["id"])) == (["0", "2"], ["1"])
    with (tmp_path / "0.png").open("ab") as stream:
        stream.write(b"x")
    with pytest.raises(DatasetError, match=r"0\.png changed after organize: run `dvc repro organize`"):
        load_dataset(tmp_path)
    (tmp_path / "1.png").unlink()
    with pytest.raises(EvaluationError, match="1 images are listed but not there"):
        load_dataset(tmp_path)


def test_an_original_that_ingest_does_not_know_is_one_clear_error(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "manifest.jsonl", [])
    with pytest.raises(DatasetError, match="dvc repro ingest"):
        load_originals(tmp_path, ["unknown"])
