"""A training step with the fused LoRA layers beside the same step by PEFT's own: `python -m benchmarks.fused_layers`.

One run at params.yaml's settings; its steps alternate, with the fused forwards in place and taken away, and which of a
pair comes first alternates too: other work on the machine slows both. The ratio is of each pair.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import torch

from anime_lora.config.load import load_params
from anime_lora.config.paths import PARAMS
from anime_lora.config.section import Base
from anime_lora.diffusion import device as machine
from anime_lora.diffusion.rng import groups
from anime_lora.training.loop import take_step
from anime_lora.training.state import State
from anime_lora.training.stop import Stop
from anime_lora.training.trainer import open_run
from benchmarks.subjects import POCKET, read


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=30)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    params = load_params(PARAMS)
    device = machine.pick_device(params.compute.device)
    base = Base(model=str(POCKET), revision=None, resolution=params.base.resolution)
    with tempfile.TemporaryDirectory() as name:
        run = open_run(params.train, base, POCKET, machine.new_accelerator(params.train, device), (Path(name), "mark"))
        run.images = read(4 * run.group_size, base.resolution, Path(name))
        run.batches.latents.fill(run.images, [False], lambda: None)
        run.training_mode(True)
        parts, state = groups(run.visits(0), run.group_size), State()
        fused = {module: module.forward for module in run.pipe.unet.modules() if "forward" in vars(module)}

        def timed(with_fused: bool, number: int) -> float:
            for module, forward in fused.items():
                if with_fused:
                    module.forward = forward
                else:
                    vars(module).pop("forward", None)
            start = time.perf_counter()
            take_step(run, state, parts[number % len(parts)], Stop())
            if device == "cuda":
                torch.cuda.synchronize()
            return time.perf_counter() - start

        rows = []
        for number in range(options.pairs + 1):
            first = number % 2 == 0
            pair = {which: timed(which, number) for which in (first, not first)}
            rows.append((pair[False], pair[True]))
    plain, ours = zip(*rows[1:], strict=True)
    ratios = [a / b for a, b in rows[1:]]
    settings = f"batch {run.group_size}, {params.train.target}, {device}, {options.threads} threads"
    print(f"pocket, {base.resolution} px, {settings}; {len(fused)} modules have a fused forward")
    print(f"median step: PEFT's layers {statistics.median(plain):.3f} s, fused {statistics.median(ours):.3f} s")
    span = f"{min(ratios):.2f} to {max(ratios):.2f}"
    print(f"ratio: median {statistics.median(ratios):.2f} of {len(ratios)} pairs ({span})")


if __name__ == "__main__":
    main()
