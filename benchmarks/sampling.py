"""Seconds that a guided image takes, and the memory: `python -m benchmarks.sampling`.

Text to image with guidance 7.5, each step of which computes the UNet twice for every image.
"""

import argparse
import tempfile
import time
from pathlib import Path

import torch
from diffusers import StableDiffusionPipeline

from anime_lora.diffusion.base_model import load_pipeline
from benchmarks.subjects import POCKET, sd15

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def seconds(pipe: StableDiffusionPipeline, batch: int, steps: int, side: int) -> float:
    """Wall time of one call for `batch` images, the best of three after a first call."""
    times = []
    for _ in range(4):
        start = time.perf_counter()
        pipe(["girl, blue hair"] * batch, num_inference_steps=steps, guidance_scale=7.5, height=side, width=side)
        times.append(time.perf_counter() - start)
    return min(times[1:])


def main() -> None:
    """Print a row per batch size."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--base", default="pocket", choices=("pocket", "sd15"))
    parser.add_argument("--weights", type=Path, help="folder for sd15's random weights, kept when they are there")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--precision", default="fp32", choices=tuple(DTYPES))
    parser.add_argument("--resolution", type=int, default=256)
    options = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    with tempfile.TemporaryDirectory() as name:
        base = POCKET if options.base == "pocket" else sd15(options.weights or Path(name))
        pipe = load_pipeline(base, DTYPES[options.precision]).to(device)
    pipe.set_progress_bar_config(disable=True)
    print(f"{options.base}, {options.resolution} px, {options.steps} steps, {options.precision}, {device}")
    print("| batch | images per second | seconds per image | peak memory of the GPU, GiB |\n|---|---|---|---|")
    for batch in options.batches:
        if device == "cuda":
            torch.cuda.reset_peak_memory_stats()
        per_image = seconds(pipe, batch, options.steps, options.resolution) / batch
        memory = f"{torch.cuda.max_memory_allocated() / 2**30:.2f}" if device == "cuda" else "-"
        print(f"| {batch} | {1 / per_image:.2f} | {per_image:.3f} | {memory} |")


if __name__ == "__main__":
    main()
