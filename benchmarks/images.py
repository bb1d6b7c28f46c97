"""Squares per second of `resize`: in this process, in local processes, and on Dask workers of this machine.

python -m benchmarks.images --images 400 --side 1024
"""

import argparse
import io
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

import numpy as np
from PIL import Image

from anime_lora.data.resize import Job, make_square
from anime_lora.executors import map_unordered


def images(folder: Path, count: int, side: int) -> list[Path]:
    """Smooth random RGB images, as JPEG, named by their hash as in ingest's store."""
    rng = np.random.default_rng(0)
    files = []
    for _ in range(count):
        small = Image.fromarray(rng.integers(0, 256, (16, 16, 3), dtype=np.uint8))
        stream = io.BytesIO()
        small.resize((side, side), Image.Resampling.BICUBIC).save(stream, "JPEG", quality=90)
        files.append(folder / f"{sha256(stream.getvalue()).hexdigest()}.jpg")
        files[-1].write_bytes(stream.getvalue())
    return files


def jobs(files: list[Path], out: Path) -> Iterator[Job]:
    for file in files:
        yield Job(file, out / f"{file.stem}.png", 512, "crop", "center", (255, 255, 255))


@contextmanager
def dask_workers(count: int) -> Iterator[str]:
    """Address of a scheduler with `count` single-threaded worker processes."""
    from distributed import LocalCluster

    with LocalCluster(n_workers=count, threads_per_worker=1, dashboard_address=None) as cluster:
        yield cluster.scheduler_address


def rate(files: list[Path], out: Path, workers: int, address: str | None) -> float:
    """Images per second, start of local processes included."""
    start = time.perf_counter()
    made = (
        map(make_square, jobs(files, out))
        if workers == 1
        else map_unordered(make_square, jobs(files, out), workers, address)
    )
    assert len(list(made)) == len(files)
    return len(files) / (time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=400)
    parser.add_argument("--side", type=int, default=1024)
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        files = images(place, options.images, options.side)
        print(f"{options.images} images of {options.side} px to 512 px, {os.cpu_count()} cores")
        count: int = options.workers
        print(f"one process: {rate(files, place / 'one', 1, None):.1f} images/s")
        print(f"{count} processes: {rate(files, place / 'local', count, None):.1f} images/s")
        with dask_workers(count) as address:
            print(f"{count} Dask workers: {rate(files, place / 'dask', count, address):.1f} images/s")


if __name__ == "__main__":
    main()
