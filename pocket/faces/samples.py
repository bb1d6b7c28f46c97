"""The sample images: anime faces to train on, and photo-like people with their anime counterparts."""

from pathlib import Path

from anime_lora.files import fresh_folder, write_jsonl, write_text
from pocket.faces.captions import tags
from pocket.faces.character import attributes, sample_character
from pocket.faces.domains import render

ANIME_COUNT, ANIME_SIDE, ANIME_SEED = 240, 128, 2_000_000
PEOPLE_COUNT, PEOPLE_SIDE, PEOPLE_SEED = 24, 256, 3_000_000
NUMBER = "[0-9]"
WRITES = (
    *("README.md", "people/metadata.jsonl", f"anime/{NUMBER * 4}.png", f"anime/{NUMBER * 4}.txt"),
    *(f"{kind}/{NUMBER * 2}.png" for kind in ("people", "counterparts")),
)
ABOUT = """# Sample images

Rendered by this project's own code from attributes, free to use: CC0 1.0.

- `anime/`: 240 faces in the style to be learned, 128×128, each with its tags in a `.txt` beside it.
- `people/`: 24 photo-like faces for img2img, with attributes in `metadata.jsonl`.
- `counterparts/`: the same 24 characters in the style to be learned: what a perfect conversion would give.

`python -m pocket samples` renders them again, byte for byte.
"""


def render_samples(folder: Path) -> None:
    """Render all sample images into `folder`; same bytes each time."""
    with fresh_folder(folder, WRITES) as beside:
        for number in range(ANIME_COUNT):
            character = sample_character(ANIME_SEED + number)
            _save(beside / "anime" / f"{number + 1:04d}.png", ANIME_SEED + number, "anime", ANIME_SIDE)
            write_text(beside / "anime" / f"{number + 1:04d}.txt", tags(character) + "\n")
        rows = []
        for number in range(PEOPLE_COUNT):
            seed, name = PEOPLE_SEED + number, f"{number + 1:02d}.png"
            _save(beside / "people" / name, seed, "photo", PEOPLE_SIDE)
            _save(beside / "counterparts" / name, seed, "anime", PEOPLE_SIDE)
            character = sample_character(seed)
            rows.append({"file_name": name, "seed": seed, "caption": tags(character), **attributes(character)})
        write_jsonl(beside / "people" / "metadata.jsonl", rows)
        write_text(beside / "README.md", ABOUT)


def _save(path: Path, seed: int, domain: str, side: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    render(sample_character(seed), domain, side).save(path, optimize=True)
