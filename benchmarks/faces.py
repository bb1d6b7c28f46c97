"""How many faces are whole in a square crop: images put off-centre into wider and taller ones, and cropped again.

python -m benchmarks.faces data/samples/anime data/samples/people data/samples/counterparts
"""

import argparse
import random
import time
from pathlib import Path

import numpy as np
from PIL import Image

from anime_lora.data.faces import detector, find_face
from anime_lora.data.resize import placed
from anime_lora.images import read_rgb

SIDE, LONG = 256, 512
FACE = (0.2, 0.2, 0.8, 0.85)
"""Where the face is in an image of its own: left, top, right, bottom, as shares."""


def padded(image: Image.Image, wide: bool, rng: random.Random) -> tuple[Image.Image, int]:
    """The image somewhere in one twice as wide or as tall, on a background of its own edge's mean colour with noise."""
    size = (LONG, SIDE) if wide else (SIDE, LONG)
    colour = np.asarray(image)[0].mean(0)
    noise = np.random.default_rng(rng.randrange(2**32)).normal(0, 8, (size[1], size[0], 3))
    page = Image.fromarray((colour + noise).clip(0, 255).astype(np.uint8))
    offset = rng.randrange(LONG - SIDE + 1)
    page.paste(image, (offset, 0) if wide else (0, offset))
    return page, offset


def is_whole(across: float, down: float, wide: bool, offset: int) -> bool:
    """Whether the face lies in the crop that is placed so."""
    start = (LONG - SIDE) * (across if wide else down)
    first, last = (FACE[0], FACE[2]) if wide else (FACE[1], FACE[3])
    return start <= offset + first * SIDE and offset + last * SIDE <= start + SIDE


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--count", type=int, default=60)
    options = parser.parse_args()
    print(f"faces whole in the crop, with {detector()}")
    for folder in options.folders:
        files = sorted(file for file in folder.iterdir() if file.suffix in {".png", ".jpg"})[: options.count]
        rng, counts, seconds = random.Random(0), [0, 0, 0, 0], 0.0
        for wide in (False, True):
            for file in files:
                page, offset = padded(read_rgb(file).resize((SIDE, SIDE)), wide, rng)
                start = time.perf_counter()
                face = find_face(page)
                seconds += time.perf_counter() - start
                for place, where in enumerate([(0.5, 0.5), placed(page, None), placed(page, face)]):
                    counts[place] += is_whole(*where, wide, offset)
                counts[3] += face is not None
        total = 2 * len(files)
        print(
            f"{folder}: center {counts[0]}, without a detector {counts[1]}, with it {counts[2]} of {total}; "
            f"a face was found in {counts[3]}; {1000 * seconds / total:.0f} ms each",
            flush=True,
        )


if __name__ == "__main__":
    main()
