"""The data stages: images per second beside the bare loop and `datasets`' map, and how they grow with the images.

python -m benchmarks.data speed --images 200 --side 1024      # rounds of all, one after the other
python -m benchmarks.data growth --sizes 2000 20000           # anew, again without a change, with 100 images more
python -m benchmarks.data growth --sizes 1000 10000 100000    # an hour on two cores
"""

import argparse
import io
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from itertools import pairwise
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from anime_lora.data.resize import LEVEL, STRATEGY

STAGES = ("ingest", "validate", "resize", "organize")
MORE = 100
"""Images that are added to see what a few new ones cost."""
ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Cost:
    """What a command took: seconds of the clock, seconds of all cores, and MiB of its largest process."""

    seconds: float
    cpu: float
    memory: float


def render(folder: Path, side: int, number: int) -> None:
    """A smooth random image as JPEG, unlike all others, with a caption."""
    rng = np.random.default_rng(number)
    small = Image.fromarray(rng.integers(0, 256, (12, 12, 3), dtype=np.uint8))
    file = folder / f"{number // 1000:03d}" / f"{number:06d}.jpg"
    file.parent.mkdir(parents=True, exist_ok=True)
    small.resize((side, side), Image.Resampling.BICUBIC).save(file, quality=90)
    file.with_suffix(".txt").write_text(f"face {number}, blue hair\n")


def render_all(folder: Path, side: int, first: int, last: int) -> None:
    """The images of numbers `first` to `last` - 1."""
    with ProcessPoolExecutor() as pool:
        list(pool.map(partial(render, folder, side), range(first, last), chunksize=50))


def project(folder: Path, side: int) -> None:
    """A folder whose settings read `source` and make squares of `side` pixels."""
    text = (ROOT / "params.yaml").read_text(encoding="utf-8")
    values = {"sources": "[source]", "size": side, "min_side": 1, "min_sharpness": 0.0, "max_files": 10**7}
    for name, value in values.items():
        text = re.sub(rf"(?m)^(  {name}:) [^#\n]*", rf"\1 {value}  ", text, count=1)
    (folder / "params.yaml").write_text(text, encoding="utf-8")


def run(stage: str, folder: Path) -> Cost:
    """The stage's command in `folder`."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    start = time.perf_counter()
    command = [sys.executable, "-m", "anime_lora", stage]
    with subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.DEVNULL) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{stage} failed")
    return Cost(time.perf_counter() - start, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def growth(sizes: list[int], side: int) -> None:
    """Each size in a project of its own: anew, again, and with `MORE` images."""
    anew: dict[int, dict[str, Cost]] = {}
    print(f"images of {side} px to squares of {side} px, {os.cpu_count()} cores; clock s (of all cores s), peak MiB")
    for size in sizes:
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place)
            project(folder, side)
            render_all(folder / "source", side, 0, size)
            anew[size] = {stage: run(stage, folder) for stage in STAGES}
            show(f"{size} anew", anew[size])
            show(f"{size} again", {stage: run(stage, folder) for stage in STAGES})
            render_all(folder / "source", side, size, size + MORE)
            show(f"{size} + {MORE}", {stage: run(stage, folder) for stage in STAGES})
    for small, large in pairwise(sizes):
        ratios = (f"{stage} {anew[large][stage].cpu / anew[small][stage].cpu:.1f}" for stage in STAGES)
        print(f"{small} to {large}, seconds of all cores grow: {', '.join(ratios)} times")


def show(what: str, costs: dict[str, Cost]) -> None:
    cells = (f"{stage} {cost.seconds:.1f} ({cost.cpu:.1f}) {cost.memory:.0f}" for stage, cost in costs.items())
    total = f"all {sum(c.seconds for c in costs.values()):.1f} ({sum(c.cpu for c in costs.values()):.1f})"
    print(f"{what}: {', '.join(cells)}; {total}", flush=True)


def bare_square(out: Path, size: int, strategy: int, file: Path) -> None:
    """What one image costs at least: decode, Lanczos, encode with one of zlib's strategies, write."""
    with Image.open(file) as image:
        square = ImageOps.fit(image.convert("RGB"), (size, size), Image.Resampling.LANCZOS)
    stream = io.BytesIO()
    square.save(stream, "PNG", compress_level=LEVEL, compress_type=strategy)
    (out / f"{file.stem}.png").write_bytes(stream.getvalue())


def bare_loop(files: list[Path], out: Path, size: int, strategy: int) -> None:
    out.mkdir()
    with ProcessPoolExecutor() as pool:
        list(pool.map(partial(bare_square, out, size, strategy), files, chunksize=4))


def datasets_map(files: list[Path], out: Path, size: int) -> None:
    from datasets import Dataset

    out.mkdir()
    table = Dataset.from_dict({"file": [str(file) for file in files]})

    def square(row: dict[str, str]) -> dict[str, str]:
        bare_square(out, size, STRATEGY, Path(row["file"]))
        return {"digest": sha256((out / f"{Path(row['file']).stem}.png").read_bytes()).hexdigest()}

    table.map(square, num_proc=os.cpu_count())


def speed(images: int, side: int, size: int, rounds: int) -> None:
    """Images per second of the stages, of the bare loop and of `datasets`' map, in turns."""
    from anime_lora.config.load import load_params
    from anime_lora.data.ingest import ingest
    from anime_lora.data.organize import organize
    from anime_lora.data.resize import resize
    from anime_lora.data.validate import validate

    with tempfile.TemporaryDirectory() as place:
        os.chdir(place)
        project(Path(), size)
        render_all(Path("source"), side, 0, images)
        params = load_params(Path("params.yaml"))
        files = sorted(Path("source").rglob("*.jpg"))
        ways: dict[str, Callable[[], None]] = {
            "bare loop": lambda: bare_loop(files, Path("bare"), size, STRATEGY),
            "with zlib's default strategy": lambda: bare_loop(files, Path("default"), size, 0),
            "datasets' map": lambda: datasets_map(files, Path("mapped"), size),
            "ingest": lambda: ingest(params.ingest, params.compute),
            "validate": lambda: validate(params.validate_, params.compute),
            "resize": lambda: resize(params.resize, params.compute),
            "organize": lambda: organize(params.organize, params.concept),
        }
        rates: dict[str, list[float]] = {way: [] for way in ways}
        for _ in range(rounds):
            for folder in (".cache", "data", "bare", "default", "mapped"):
                shutil.rmtree(folder, ignore_errors=True)
            for way, call in ways.items():
                start = time.perf_counter()
                call()
                rates[way].append(images / (time.perf_counter() - start))
    print(f"{images} images of {side} px to {size} px, {os.cpu_count()} cores, median of {rounds} rounds")
    for way, numbers in rates.items():
        share = statistics.median(a / b for a, b in zip(numbers, rates["bare loop"], strict=True))
        print(f"{way}: {statistics.median(numbers):.1f} images/s, {share:.2f} of the bare loop")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    fast = commands.add_parser("speed", help="images per second")
    fast.add_argument("--images", type=int, default=200)
    fast.add_argument("--side", type=int, default=1024)
    fast.add_argument("--size", type=int, default=512)
    fast.add_argument("--rounds", type=int, default=3)
    more = commands.add_parser("growth", help="seconds and memory by number of images")
    more.add_argument("--sizes", type=int, nargs="+", default=[2000, 20000])
    more.add_argument("--side", type=int, default=128)
    options = parser.parse_args()
    if options.command == "speed":
        speed(options.images, options.side, options.size, options.rounds)
    else:
        growth(options.sizes, options.side)


if __name__ == "__main__":
    main()
