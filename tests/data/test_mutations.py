"""Bytes changed at random: whatever the fault, a per-image job returns it and a source names it."""

import bz2
import gzip
import io
import lzma
import os
import random
import tarfile
import time
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from anime_lora.config.load import load_params
from anime_lora.data import ingest, resize
from anime_lora.data.accounts import account
from anime_lora.data.captions.matching import read_captions
from anime_lora.data.manifest import Unusable
from anime_lora.data.quality import measures
from anime_lora.data.quality.measures import measure
from anime_lora.data.sources.archives import Limits
from anime_lora.data.sources.listing import list_files
from anime_lora.files import read_jsonl
from anime_lora.images import decode
from tests.data.conftest import ROOT, Project, image

COUNT = int(os.environ.get("MUTATIONS", "40"))
"""Mutations of each archive; `MUTATIONS=400` for a long run."""
LIMITS = Limits(max_files=100, max_ratio=200)
INGEST = load_params(ROOT / "params.yaml").ingest


def image_bytes() -> list[bytes]:
    """One file of every format, with EXIF and a profile where the format has them."""
    exif = Image.Exif()
    exif[0x0112] = 6
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    contents = []
    for kind, mode in [("PNG", "RGBA"), ("JPEG", "RGB"), ("WEBP", "RGBA"), ("BMP", "RGB"), ("JPEG", "CMYK")]:
        stream = io.BytesIO()
        options = {} if kind == "BMP" else {"exif": exif, "icc_profile": profile}
        image(1, side=32).convert(mode).save(stream, kind, **options)
        contents.append(stream.getvalue())
    return contents


def mutated(content: bytes, rng: random.Random) -> bytes:
    """1, 2 or 8 bytes changed, every second time in the head; one of ten is cut, too."""
    result = bytearray(content)
    end = rng.choice((len(result), min(700, len(result))))
    for _ in range(rng.choice((1, 2, 8))):
        result[rng.randrange(end)] = rng.randrange(256)
    return bytes(result[: rng.randrange(len(result))] if rng.random() < 0.1 else result)


def test_a_mutated_image_goes_through_every_job_or_has_a_code(tmp_path: Path) -> None:
    rng, contents = random.Random(5), image_bytes()
    outcomes = []
    for _ in range(300):
        job = ingest.Job(mutated(rng.choice(contents), rng), 10**6, tmp_path / "store")
        opened = ingest.open_image(job)
        if isinstance(opened, ingest.StoredImage):
            stored = tmp_path / opened.store
            square = resize.Job(stored, tmp_path / "square.png", 32, "crop", "center", (255, 255, 255))
            outcomes += [measure(stored), resize.make_square(square)]
        outcomes.append(opened)
    faults = [one for one in outcomes if isinstance(one, Unusable)]
    assert all(fault.code and fault.reason for fault in faults)
    assert 30 < len(faults) < 270


def archives() -> dict[str, bytes]:
    """The same members in every kind of archive."""
    members = {"a.png": image_bytes()[0], "a.txt": b"girl, blue hair", "metadata.jsonl": b'{"file_name":"a.png"}\n'}
    packed, plain = io.BytesIO(), io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive, tarfile.open(fileobj=plain, mode="w") as tar:
        for name, content in members.items():
            archive.writestr(name, content)
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    tar_bytes = plain.getvalue()
    return {
        "x.zip": packed.getvalue(),
        "x.tar": tar_bytes,
        "x.tar.gz": gzip.compress(tar_bytes),
        "x.tar.bz2": bz2.compress(tar_bytes),
        "x.tar.xz": lzma.compress(tar_bytes),
    }


def check_each_in_one_list(source: Path, store: Path) -> None:
    """List a source, read its captions, open its images: nothing raises, and every file is in exactly one list."""
    begun = time.monotonic()
    listed = list_files(str(source), LIMITS)
    accounts = account(listed, "joined")
    to_open = [file for file in accounts.images if not file.problem]
    for job in ingest._jobs(to_open, INGEST, store):
        result = ingest.open_image(job)
        assert isinstance(result, ingest.StoredImage) or (result.code and result.reason)
    paths = [file.path for file in accounts.images] + [one.path for one in accounts.sidecars]
    assert sorted(paths) == sorted(file.path for file in listed)
    assert paths
    assert time.monotonic() - begun < 10


@pytest.mark.parametrize("name", list(archives()))
def test_a_mutated_archive_is_named_or_its_members_are(name: str, tmp_path: Path) -> None:
    rng, path = random.Random(7), tmp_path / name
    whole = archives()[name]
    for _ in range(COUNT):
        path.write_bytes(mutated(whole, rng))
        check_each_in_one_list(path, tmp_path / "store")


def test_a_mutated_caption_or_table_gives_text_that_can_be_written_or_is_named(tmp_path: Path) -> None:
    rng, source = random.Random(9), tmp_path / "source"
    source.mkdir()
    image(1, side=32).save(source / "a.png")
    files = {
        "metadata.jsonl": '{"file_name":"a.png","text":"girl, 髪"}\n'.encode() * 3,
        "tags.csv": b'name,tags\na.png,"x, y"\nb.png,z\n',
        "c.txt": "少女, 青い髪".encode("cp932"),
        "d.caption": "1girl".encode("utf-16"),
        "e.txt": "一个女孩，蓝色的头发".encode("gb18030"),
        "f.txt": "élégante, café".encode("latin-1"),
    }
    for _ in range(2 * COUNT):
        for name, content in files.items():
            (source / name).write_bytes(mutated(content, rng))
        check_each_in_one_list(source, tmp_path / "store")
        captions = read_captions(list_files(str(source), LIMITS))
        assert all(caption.text.encode() for caption in captions.by_image.values())
        assert {one.path for one in captions.sidecars} == set(files)
        assert all(captions.unreadable.values())


def test_a_file_on_which_workers_die_is_set_aside_in_every_stage_and_tried_again(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a decoder that crashes, or the kernel for want of memory, ends the worker: the others go on."""
    project.add(6)
    images = [(project.source / f"{number:03d}.png").read_bytes() for number in range(3)]

    def fatal_on(content: bytes) -> Callable[..., Image.Image]:
        return lambda given, *_: os._exit(1) if given == content else decode(given)

    for module, content in zip((ingest, measures, resize), images, strict=True):
        monkeypatch.setattr(module, "decode", fatal_on(content))
    project.ingest()
    project.validate()
    project.resize()
    monkeypatch.undo()
    monkeypatch.chdir(project.root)
    taken = {row["path"]: row.get("code") for row in read_jsonl(project.root / "data/ingest/manifest.jsonl")}
    assert taken == {f"{number:03d}.png": "killed" if number == 0 else None for number in range(6)}
    aside = [read_jsonl(project.root / f"data/{stage}/quarantine.jsonl") for stage in ("validate", "resize")]
    assert [[(row["path"], row["check"]) for row in rows] for rows in aside] == [
        [("000.png", "ingest"), ("001.png", "killed")],
        [("002.png", "killed")],
    ]
    project.ingest()
    project.validate()
    project.resize()
    assert len(read_jsonl(project.root / "data/resize/manifest.jsonl")) == 6


def outcomes_of(project: Project, names: set[str]) -> dict[str, str]:
    """Run the data stages; every file must be in exactly one list after each. What became of it, by name."""
    limits = {"min_side": 16, "max_aspect": 100.0, "min_contrast": 0.0, "min_sharpness": 0.0, "min_images": 2}
    project.ingest()
    project.validate(max_rejected_share=1.0, **limits)
    project.resize()
    ingested, valid, aside, squares = (
        [row["path"] for row in read_jsonl(project.root / "data" / name)]
        for name in (
            *("ingest/manifest.jsonl", "validate/manifest.jsonl"),
            *("validate/quarantine.jsonl", "resize/manifest.jsonl"),
        )
    )
    failed = project.root / "data/resize/quarantine.jsonl"
    unsquared = [row["path"] for row in read_jsonl(failed)] if failed.is_file() else []
    assert sorted(ingested) == sorted(names)
    assert sorted(valid + aside) == sorted(names)
    assert sorted(squares + unsquared) == sorted(valid)
    checks = {row["path"]: row["check"] for row in read_jsonl(project.root / "data/validate/quarantine.jsonl")}
    return {name: checks.get(name, "square" if name in squares else "no square") for name in names}


def every_kind(seed: int) -> list[tuple[str, bytes]]:
    """One file of every format and mode that is opened, with EXIF and a profile where the format has them."""
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "maker"
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    plain = image(seed, side=32)
    deep = Image.fromarray(np.asarray(plain.convert("L")).astype(np.uint16) * 257)
    contents = []
    for kind, one in [
        *(("PNG", plain.convert(mode)) for mode in ("RGB", "RGBA", "L", "LA", "P", "1")), ("PNG", deep),
        *(("JPEG", plain.convert(mode)) for mode in ("RGB", "L", "CMYK")), ("WEBP", plain),
        ("WEBP", plain.convert("RGBA")), *(("TIFF", plain.convert(mode)) for mode in ("RGB", "CMYK", "LAB")),
        ("TIFF", deep), ("GIF", plain), ("BMP", plain), ("AVIF", plain),
    ]:  # fmt: skip
        stream = io.BytesIO()
        one.save(stream, kind, **({} if kind in {"BMP", "GIF"} else {"exif": exif, "icc_profile": profile}))
        contents.append((kind.lower(), stream.getvalue()))
    return contents


@pytest.mark.slow
def test_every_one_of_2000_mutated_images_is_in_exactly_one_list(project: Project) -> None:
    rng, names = random.Random(13), set[str]()
    while len(names) < 2000:
        for kind, content in every_kind(len(names)):
            name = f"{len(names):04d}.{kind}"
            (project.source / name).write_bytes(mutated(content, rng))
            names.add(name)
    outcomes = Counter(outcomes_of(project, names).values())
    print(len(names), outcomes)
    assert outcomes["square"] > 500
    assert outcomes["ingest"] > 100


@pytest.mark.slow
def test_every_one_of_1000_mutated_exif_blocks_costs_no_image(project: Project) -> None:
    """The pixels are sound: whatever stands in the block, the image becomes a square."""
    rng, names = random.Random(17), set[str]()
    exif = Image.Exif()
    exif[0x0112], exif[0x010F], exif[0x9003] = 6, "maker", "2020:01:01 00:00:00"
    exif.get_ifd(0x8825)[1] = "N"
    for number in range(1000):
        block = bytearray(exif.tobytes())
        for _ in range(rng.choice((1, 4, 16))):
            block[rng.randrange(len(block))] = rng.randrange(256)
        if number % 5 == 0:
            del block[rng.randrange(len(block)) :]
        kind = ("png", "jpeg", "webp")[number % 3]
        image(number, side=32).save(project.source / f"{number:04d}.{kind}", exif=bytes(block))
        names.add(f"{number:04d}.{kind}")
    assert Counter(outcomes_of(project, names).values()) == {"square": 1000}
