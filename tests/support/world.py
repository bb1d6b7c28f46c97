"""A world with known answers: faces are a colour (what is asked for), cells (who it is) and stripes (the style)."""

import zlib
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
from PIL import Image

from anime_lora.config.evaluate import Evaluate
from anime_lora.config.sample import ValidateSample
from anime_lora.config.section import Base, Compute, Concept
from anime_lora.data.manifest import DatasetImage, IngestedFile, ValidImage
from anime_lora.evaluation import stage
from anime_lora.files import link_or_copy, sha256_file, write_json, write_jsonl
from anime_lora.sampling.results import (
    AdapterChecks,
    GeneratedImage,
    GeneratedSuite,
    write_adapter_checks,
    write_generated,
    write_suite,
)
from anime_lora.sampling.suite import ModelIdentity, Shot, shots

SIZE = 64
COLOURS = {
    "red hair": (200, 40, 40),
    "green hair": (40, 180, 60),
    "blue hair": (40, 60, 210),
    "black hair": (20, 20, 20),
}
CONCEPT = Concept(trigger="myStyle", class_name="face", instance_prompt="myStyle face portrait")
SOURCES = [f"{n:02d}.png" for n in range(12)]
SECOND = np.array([1.0, -1.0, 1.0, -1.0])
"""What the second LoRA does to the first cells."""


def face(colour: Sequence[int], who: np.ndarray, stripes: float) -> Image.Image:
    """Upper half `colour`, lower half 2 x 4 grey cells `who` (-1..1), all striped by `stripes` (0..1)."""
    values = np.empty((SIZE, SIZE, 3))
    values[: SIZE // 2] = colour
    values[SIZE // 2 :] = (128 + 60 * who.reshape(2, 4)).repeat(SIZE // 4, 0).repeat(SIZE // 4, 1)[..., None]
    values += 40 * stripes * np.where(np.arange(SIZE) % 2, 1, -1)[None, :, None]
    return Image.fromarray(values.clip(0, 255).astype(np.uint8))


def person(name: str) -> np.ndarray:
    return np.random.default_rng(zlib.crc32(name.encode())).uniform(-1, 1, 8)


def vector(image: Image.Image) -> np.ndarray:
    values = np.asarray(image.convert("RGB").resize((SIZE, SIZE)), float) / 255
    stripes = np.abs(np.diff(values.mean((0, 2)))).mean() / 0.314
    colour = values[: SIZE // 2 - 2].mean((0, 1))
    cells = values[SIZE // 2 :].mean(2).reshape(2, SIZE // 4, 4, SIZE // 4).mean((1, 3)).ravel() - 0.5
    return np.concatenate([[0.7 * stripes, 0.5 * (1 - stripes)], colour - colour.mean(), [0.25 - colour.mean()], cells])


class Eye:
    """An encoder that sees exactly what `face` renders."""

    name, identity, reads_text = "eye", "0", True

    def images(self, images: Sequence[Image.Image]) -> np.ndarray:
        """Unit vectors of images."""
        rows = np.stack([vector(image) for image in images])
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    def texts(self, texts: Sequence[str]) -> np.ndarray:
        """Unit vectors of texts."""
        rows = []
        for text in texts:
            asked = [colour for name, colour in COLOURS.items() if name in text]
            row = np.zeros(14)
            if asked:
                row = vector(face(asked[0], np.zeros(8), 0))
                row[:2] = 0
            row[0] += "striped" in text
            row[1] += "plain" in text
            rows.append(row / max(np.linalg.norm(row), 1e-9))
        return np.stack(rows)


def suite(sources: Path, second: str | None = "second.safetensors", controlnet: str | None = "net") -> ValidateSample:
    prompts = tuple(f"{who}, {hair}" for who in ("girl", "boy") for hair in COLOURS)
    return ValidateSample(
        seeds=(1, 2), steps=4, guidance=7.5, negative_prompt="", batch_size=8, prompts=prompts, sweep_prompts=4,
        guidances=(1.0, 7.5, 15.0), scales=(0.0, 0.5, 1.0, 1.5), styles={"striped": "striped", "plain": "plain"},
        style_prompts=("girl", "boy"),
        style_guidances=(5.0, 7.5), unrelated_prompts=tuple(f"thing {n}" for n in range(8)),
        sources=str(sources), counterparts=None, source_prompt="portrait", source_seeds=1,
        strengths=(0.3, 0.5, 0.65, 0.8, 0.95),
        base_strengths=(0.65, 0.8), second_adapter=second, controlnet=controlnet,
    )  # fmt: skip


def learned(shot: Shot) -> Image.Image:
    """What a LoRA that learned the stripes, and only those, generates."""
    colour = next((value for name, value in COLOURS.items() if name in shot.prompt), (120, 120, 120))
    who, stripes = person(f"{shot.cluster} {shot.seed}"), 0.9 * min(shot.lora_scale, 1.2)
    if shot.gallery == "drift":
        stripes *= 0.1
    if shot.style is not None:
        stripes += 0.1 if shot.style == "striped" else -0.1
    if shot.gallery == "guidance":
        colour = tuple(
            np.array(colour) * min(1, 0.5 + shot.guidance / 15) + 60 * (1 - min(1, 0.5 + shot.guidance / 15))
        )
    if shot.gallery == "combining" and shot.arm in {"second", "both"}:
        who = np.concatenate([SECOND, who[4:]])
    if shot.strength is not None:
        mine = shot.strength * (0.4 if shot.arm == "control" else 1.0)
        who = (1 - mine) * person(str(shot.source)) + mine * who
        stripes *= shot.strength
    return face(colour, who, stripes)


def untrained(shot: Shot) -> Image.Image:
    """What a LoRA of zeros generates: the base."""
    return learned(Shot(**{**asdict(shot), "lora_scale": 0.0}))


class World:
    """Folders as the earlier stages leave them; `render` decides what the LoRA does."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.samples = folder, folder / "validate-sample"
        self.dataset, self.train, self.out = folder / "organize", folder / "train", folder / "evaluate"
        self.ingest, self.validate = folder / "ingest", folder / "validate"
        (folder / "people").mkdir(parents=True)
        for name in SOURCES:
            face((120, 120, 120), person(name), 0).save(folder / "people" / name)

    def generate(self, render: Callable[[Shot], Image.Image], effect: float = 0.2, **changes: str | None) -> None:
        """What validate-sample leaves; `changes` are `suite`'s."""
        section = suite(self.folder / "people", **changes)
        (self.samples / "images").mkdir(parents=True, exist_ok=True)
        rows = []
        for shot in shots(section, CONCEPT):
            file = self.samples / "images" / f"{shot.name}.png"
            render(shot).save(file)
            row = GeneratedImage(**vars(shot), file=f"images/{file.name}", sampler="DDIM", sha256=sha256_file(file))
            rows.append(row)
        write_generated(self.samples, rows)
        for kind in ("sources", "counterparts"):
            (self.samples / kind).mkdir(exist_ok=True)
        for name in SOURCES:
            Image.open(self.folder / "people" / name).save(self.samples / "sources" / name)
            face((120, 120, 120), person(name), 1).save(self.samples / "counterparts" / name)
        write_jsonl(
            self.samples / "sources.jsonl", [{"source": n, "file": f"sources/{n}", "labels": {}} for n in SOURCES]
        )
        checks = AdapterChecks(
            prompts=section.prompts[:4],
            zero=(0.0,) * 4,
            merged=(1e-6 * (effect > 0),) * 4,
            sum=(1e-6 * (effect > 0),) * 4,
            unloaded=(0.0,) * 4,
            effect=(effect,) * 4,
            second=True,
            shares=(0.4, 0.6),
            dtype="torch.float32",
            finite=True,
        )
        write_adapter_checks(self.samples, checks)
        identity = ModelIdentity(
            base="0" * 16, configs="0" * 16, sampler="DDIM", resolution=SIZE, dtype="torch.float32"
        )
        generated = GeneratedSuite(
            suite_id="s", image_count=len(rows), identity=identity, adapters={}, concept=CONCEPT, params=section
        )
        write_suite(self.samples, generated)

    def teach(self, train: int = 30, holdout: int = 10) -> None:
        """What organize and train leave."""
        rows, ingested, valid = list[DatasetImage](), list[IngestedFile](), list[ValidImage]()
        (self.dataset / "images").mkdir(parents=True, exist_ok=True)
        for number in range(train + holdout):
            name, colour = f"{number:03d}.png", list(COLOURS)[number % 4]
            face(COLOURS[colour], person(f"real {number}"), 1).save(self.dataset / "images" / name)
            split = "train" if number < train else "holdout"
            caption = f"girl, {colour}"
            rows.append(
                DatasetImage(
                    file_name=name, file=f"images/{name}", text="", caption=caption, id=name, split=split,
                    cluster=name, pixel_sha256="", file_sha256=sha256_file(self.dataset / "images" / name),
                )
            )  # fmt: skip
            link_or_copy(self.dataset / "images" / name, self.ingest / "store" / name)
            ingested.append(
                IngestedFile(
                    source="faces", path=name, bytes=1, status="taken", reason=None, id=name, format="PNG",
                    width=SIZE, height=SIZE, store=f"store/{name}", caption=caption, caption_from=None,
                )
            )  # fmt: skip
            valid.append(
                ValidImage(
                    id=name, store=f"store/{name}", source="faces", path=name, width=SIZE, height=SIZE,
                    caption=caption, phash="", cluster=name, sharpness=50.0 + number, contrast=30.0 + number,
                )
            )  # fmt: skip
        write_jsonl(self.ingest / "manifest.jsonl", map(asdict, ingested))
        write_jsonl(self.validate / "manifest.jsonl", map(asdict, valid))
        write_jsonl(self.dataset / "metadata.jsonl", map(asdict, rows))
        record = {"epoch": 2, "params": {"rank": 4}, "dataset": {"train": train}, "base": {"model": "tiny"}}
        write_json(self.train / "record.json", record)
        (self.train / "plots").mkdir(exist_ok=True)
        (self.train / "plots/heldout.csv").write_text(
            "epoch,heldout,probe,gap\n0,0.5,0.5,0\n1,0.4,0.4,0\n2,0.3,0.2,0.1\n"
        )

    def evaluate(self, **changes: object) -> None:
        """Run the stage."""
        base, compute = (
            Base(model="tiny", revision=None, resolution=SIZE),
            Compute(device="cpu", workers=1, dask_address=None, processes=1),
        )
        folders = {
            "ingest": self.ingest,
            "validate": self.validate,
            "samples": self.samples,
            "dataset": self.dataset,
            "train": self.train,
            "out": self.out,
        }
        stage.evaluate(settings(**changes), CONCEPT, base, compute, **folders)


def settings(**changes: object) -> Evaluate:
    values = {
        "encoders": ("eye",), "bootstrap": 500, "seed": 0, "attributes": {"hair": {name: name for name in COLOURS}},
        "domains": {"striped": "striped", "plain": "plain"}, "style_domain": "striped", "max_memorisation": 0.75,
        "max_drift": 0.15, "min_diversity": 0.5, "min_sharpness": 0.5, "champion": None,
    }  # fmt: skip
    return Evaluate.model_validate({**values, **changes})
