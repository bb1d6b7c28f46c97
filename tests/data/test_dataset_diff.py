import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from anime_lora.data.dataset_diff import Change, Recaptioned, VersionImage, compare, read_version
from anime_lora.errors import DatasetError
from anime_lora.files import read_jsonl, write_jsonl
from tests.data.conftest import ROOT, Project, image

OUT = Path("data/validate")


def row(number: int, **changes: Any) -> VersionImage:
    same = {"path": f"{number}.png", "caption": "girl", "width": 128, "height": 128}
    measures = {"contrast": 10.0 + number, "sharpness": 20.0 + number}
    return VersionImage(**{"id": f"{number:064x}", **same, **measures, **changes})


def test_each_kind_of_change_is_told_apart() -> None:
    before = [row(n) for n in range(4)]
    now = [row(0), row(1, caption="boy"), row(2, path="elsewhere/2.png"), row(9)]
    changes = compare(before, now)
    assert [one.path for one in changes.added] == ["9.png"]
    assert [one.path for one in changes.removed] == ["3.png"]
    assert changes.recaptioned == [Recaptioned(row(1, caption="boy"), "girl")]
    assert (changes.before, changes.now, changes.unchanged, changes.is_empty) == (4, 4, 2, False)
    assert changes.summary() == "1 added, 1 removed, 1 captioned anew, 2 kept"
    assert changes.images() == [
        Change("added", "9.png", "", "girl"),
        Change("removed", "3.png", "girl", ""),
        Change("captioned anew", "1.png", "girl", "boy"),
    ]


def test_the_same_version_has_no_change_and_no_drift() -> None:
    rows = [row(n) for n in range(30)]
    changes = compare(rows, rows[::-1])
    assert changes.is_empty
    assert set(changes.drift.values()) == {0.0}


def test_drift_names_the_measure_that_shifted() -> None:
    before, now = [row(n) for n in range(60)], [row(n, contrast=200.0) for n in range(60)]
    drift = compare(before, now).drift
    assert drift["contrast"] > 0.25
    assert drift["sharpness"] == drift["short_side"] == 0.0
    shifted = Change("drift of contrast", "", "", f"PSI {drift['contrast']:.3f}, much shifted")
    assert compare(before, now).measures()[0] == shifted
    assert compare(before, now).table()[0] == {
        "change": "drift of contrast",
        "image": "",
        "before": "",
        "now": shifted.now,
    }
    assert compare([], now).drift == {}


def test_versions_of_the_stage_itself(project: Project) -> None:
    """Validate's own manifests: a new image, one gone, a caption changed."""
    project.add(5)
    project.ingest()
    project.validate()
    before = read_version(OUT)
    (project.source / "000.png").unlink()
    (project.source / "001.txt").write_text("boy, changed\n")
    image(77).save(project.source / "new.png")
    project.ingest()
    project.validate()
    changes = compare(before, read_version(OUT))
    assert changes.summary() == "1 added, 1 removed, 1 captioned anew, 3 kept"
    assert changes.recaptioned[0].image.caption == "boy, changed"


def test_what_is_no_version_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="dvc get"):
        read_version(tmp_path / "nowhere.jsonl")
    write_jsonl(tmp_path / "other.jsonl", [{"id": "a"}])
    with pytest.raises(DatasetError, match="line 1: path: field required"):
        read_version(tmp_path / "other.jsonl")


def test_the_command_prints_what_changed(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "old.jsonl", [row(1), row(2)])
    write_jsonl(tmp_path / "new.jsonl", [row(2), row(3)])
    command = [
        sys.executable,
        "-m",
        "anime_lora",
        "dataset-diff",
        *(str(tmp_path / name) for name in ("old.jsonl", "new.jsonl")),
    ]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert ran.stdout.splitlines()[0] == "2 images -> 2: 1 added, 1 removed, 0 captioned anew, 1 kept"
    assert any(line.startswith("added") and "3.png" in line for line in ran.stdout.splitlines())
    assert len(read_jsonl(tmp_path / "old.jsonl")) == 2
