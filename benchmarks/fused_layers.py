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
from benchmarks.subjects import POCKET
from benchmarks.train import device_here, open_ours


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=30)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    params = load_params(PARAMS)
    device, resolution = device_here(), params.base.resolution
    group_size = params.train.batch_size * params.train.gradient_accumulation_steps
    with tempfile.TemporaryDirectory() as name:
        trainer = open_ours(params.train, resolution, POCKET, Path(name), 4 * group_size)
        trainer.latents.fill(trainer.train_images, [False], lambda: None)
        trainer.train_mode()
        parts = trainer.epoch_groups(0)
        fused = {module: module.forward for module in trainer.pipe.unet.modules() if "forward" in vars(module)}

        def timed(with_fused: bool, number: int) -> float:
            for module, forward in fused.items():
                if with_fused:
                    module.forward = forward
                else:
                    vars(module).pop("forward", None)
            start = time.perf_counter()
            trainer.step(parts[number % len(parts)])
            if device.type == "cuda":
                torch.cuda.synchronize()
            return time.perf_counter() - start

        rows = []
        for number in range(options.pairs + 1):
            first = number % 2 == 0
            pair = {which: timed(which, number) for which in (first, not first)}
            rows.append((pair[False], pair[True]))
    plain, ours = zip(*rows[1:], strict=True)
    ratios = [a / b for a, b in rows[1:]]
    settings = f"batch {group_size}, {params.train.target}, {device}, {options.threads} threads"
    print(f"pocket, {resolution} px, {settings}; {len(fused)} modules have a fused forward")
    print(f"median step: PEFT's layers {statistics.median(plain):.3f} s, fused {statistics.median(ours):.3f} s")
    span = f"{min(ratios):.2f} to {max(ratios):.2f}"
    print(f"ratio: median {statistics.median(ratios):.2f} of {len(ratios)} pairs ({span})")


if __name__ == "__main__":
    main()
