"""Organize: the dataset folder that trainers load, with captions and a holdout split by hash."""

from hashlib import sha256
from pathlib import Path
from typing import Any

from anime_lora.config import paths
from anime_lora.config.data import Organize
from anime_lora.config.section import Concept
from anime_lora.data.validate import read_manifest
from anime_lora.errors import DatasetError
from anime_lora.files import fresh_folder, link_or_copy, write_jsonl, write_text

Row = dict[str, Any]
METADATA = "metadata.jsonl"


def organize(section: Organize, concept: Concept, source: Path = paths.RESIZE, out: Path = paths.ORGANIZE) -> None:
    """Write the dataset folder, hard-linked, and `metadata.jsonl` with text and split of every image.

    Raises:
        DatasetError: resize's manifest is missing, or the split leaves one side empty.
    """
    images = read_manifest(source, "resize")
    rows = [_row(image, section, concept) for image in images]
    count = sum(row["split"] == "holdout" for row in rows)
    if count == len(rows) or (count == 0 and section.holdout_share > 0):
        side = "train" if count else "holdout"
        raise DatasetError(
            f"the {side} split of {len(rows)} images is empty with organize.holdout_share = {section.holdout_share}: "
            "add images, change the share, or another organize.holdout_salt"
        )
    with fresh_folder(out, paths.WRITES[paths.ORGANIZE]) as beside:
        for image, row in zip(images, rows, strict=True):
            link_or_copy(source / image["file"], beside / row["file"])
            if section.layout == "kohya":
                write_text((beside / row["file"]).with_suffix(".txt"), row["text"] + "\n")
        write_jsonl(beside / METADATA, rows)
        if section.layout == "diffusers":
            folder = beside / _folder(section, concept, "train")
            write_jsonl(folder / METADATA, ({k: v for k, v in row.items() if k != "file"} for row in rows))
    print(f"organize: {len(rows)} images, {len(rows) - count} to train on, {count} held out")


def _row(image: Row, section: Organize, concept: Concept) -> Row:
    split = split_of(image["cluster"], section.holdout_salt, section.holdout_share)
    name = f"{image['id']}.png"
    caption = image["caption"]
    text = ", ".join(part for part in (concept.instance_prompt, caption) if part)
    return {
        "file_name": name,
        "file": f"{_folder(section, concept, split)}/{name}",
        "text": text,
        "caption": caption,
        "id": image["id"],
        "split": split,
        "cluster": image["cluster"],
        "pixel_sha256": image["pixel_sha256"],
    }


def split_of(cluster: str, salt: str, share: float) -> str:
    """`holdout` for a `share` of clusters, chosen by hash: the same image always lands on the same side."""
    value = int(sha256(f"{salt}:{cluster}".encode()).hexdigest()[:12], 16) / 16**12
    return "holdout" if value < share else "train"


def _folder(section: Organize, concept: Concept, split: str) -> str:
    if section.layout == "diffusers":
        return f"{concept.trigger}_{concept.class_name}"
    return f"{section.repeats}_{concept.trigger} {concept.class_name}" if split == "train" else "holdout"
