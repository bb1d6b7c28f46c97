"""Organize: the dataset folder that trainers load, with captions and a holdout split by hash."""

from hashlib import sha256
from pathlib import Path

from anime_lora.config import paths
from anime_lora.config.data import Organize
from anime_lora.config.section import Concept
from anime_lora.data.manifest import DatasetImage, SquareImage, read_manifest
from anime_lora.errors import DatasetError
from anime_lora.files import fresh_folder, link_all, write_jsonl, write_text


def organize(section: Organize, concept: Concept, source: Path = paths.RESIZE, out: Path = paths.ORGANIZE) -> None:
    """Write the dataset folder, hard-linked, and `metadata.jsonl` with text and split of every image.

    Raises:
        DatasetError: resize's manifest is missing, or the split leaves one side empty.
    """
    squares = read_manifest(source, SquareImage)
    rows = [dataset_image(square, section, concept) for square in squares]
    count = sum(row.split == "holdout" for row in rows)
    if count == len(rows) or (count == 0 and section.holdout_share > 0):
        side = "train" if count else "holdout"
        raise DatasetError(
            f"the {side} split of {len(rows)} images is empty with organize.holdout_share = {section.holdout_share}: "
            "add images, change the share, or another organize.holdout_salt"
        )
    with fresh_folder(out, paths.WRITES[paths.ORGANIZE]) as beside:
        link_all(beside, {row.file: source / square.file for square, row in zip(squares, rows, strict=True)})
        for row in rows if section.layout == "kohya" else ():
            write_text((beside / row.file).with_suffix(".txt"), row.text + "\n")
        write_jsonl(beside / DatasetImage.FILE, rows)
        if section.layout == "diffusers":
            # datasets' imagefolder takes every column but `file_name` as a feature: no second path among them
            table = ({key: value for key, value in vars(row).items() if key != "file"} for row in rows)
            write_jsonl(beside / _folder(section, concept, "train") / DatasetImage.FILE, table)
    print(f"organize: {len(rows)} images, {len(rows) - count} to train on, {count} held out")


def dataset_image(square: SquareImage, section: Organize, concept: Concept) -> DatasetImage:
    """The dataset's row of a square: its place, its split, and the instance prompt before its caption."""
    split = split_of(square.cluster, section.holdout_salt, section.holdout_share)
    name = f"{square.id}.png"
    return DatasetImage(
        file_name=name,
        file=f"{_folder(section, concept, split)}/{name}",
        text="\n".join(
            ", ".join(part for part in (concept.instance_prompt, line) if part)
            for line in (square.caption or "").split("\n")
        ),
        caption=square.caption,
        id=square.id,
        split=split,
        cluster=square.cluster,
        pixel_sha256=square.pixel_sha256,
        file_sha256=square.file_sha256,
    )


def split_of(cluster: str, salt: str, share: float) -> str:
    """`holdout` for a `share` of clusters, chosen by hash: the same image always lands on the same side."""
    value = int(sha256(f"{salt}:{cluster}".encode()).hexdigest()[:12], 16) / 16**12
    return "holdout" if value < share else "train"


def _folder(section: Organize, concept: Concept, split: str) -> str:
    if section.layout == "diffusers":
        return f"{concept.trigger}_{concept.class_name}"
    return f"{section.repeats}_{concept.trigger} {concept.class_name}" if split == "train" else "holdout"
