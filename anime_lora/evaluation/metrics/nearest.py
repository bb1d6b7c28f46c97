"""The generated images closest to a training image, beside it and beside their nearest held-out image."""

from pathlib import Path

from anime_lora.evaluation.encoders import Encoder
from anime_lora.evaluation.image_sets import Album
from anime_lora.evaluation.metrics.style import trigger_units
from anime_lora.sampling.grids import Sheet, compose, save

SHOWN = 8
TILE = 192


def nearest(album: Album, encoder: Encoder, folder: Path) -> None:
    """Write nearest.png and .webp: the `SHOWN` LoRA images most like a training image, by cosine.

    Nothing is written where there are no training or no held-out images.
    """
    if not len(album.train.table) or not len(album.holdout.table):
        return
    rows = trigger_units(album)["LT"].to_numpy()
    generated = album.generated.vectors[encoder.name][rows]
    train, held = (generated @ part.vectors[encoder.name].T for part in (album.train, album.holdout))
    order = (-train.max(1)).argsort(kind="stable")[:SHOWN]
    cells: list[list[Path | None]] = [
        [album.generated.table["path"].iloc[rows[one]] for one in order],
        [album.train.table["path"].iloc[train[one].argmax()] for one in order],
        [album.holdout.table["path"].iloc[held[one].argmax()] for one in order],
    ]
    columns = [f"{train[one].max():.3f} | {held[one].max():.3f}" for one in order]
    names = ["generated", "nearest in training", "nearest held out"]
    sheet = Sheet("nearest", "Nearest training and held-out images (cosines)", columns, names, cells)
    save(compose(sheet, TILE), folder / "nearest")
