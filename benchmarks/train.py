"""Our training step beside the plain loop of diffusers' DreamBooth-LoRA example: `python -m benchmarks.train`.

The plain loop is what that script does for each step: encode the images with the VAE, encode the captions, add noise,
predict, mean squared error, clip, AdamW, with adapters from PEFT's defaults on the same modules. Both take the same
images, effective batch, rank and precision (below fp32: frozen models in it, adapters in fp32, autocast over the
UNet, as the script with `--mixed_precision`); their steps alternate, so that a busy machine slows both.

`--base sd15` uses the architecture of Stable Diffusion 1.5 with random weights: enough for speed and memory.
"""

import argparse
import multiprocessing
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import DDPMScheduler, StableDiffusionPipeline
from diffusers.training_utils import cast_training_params
from peft import LoraConfig
from PIL import Image
from torch import Tensor
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from anime_lora.config.load import load_params
from anime_lora.config.paths import PARAMS
from anime_lora.config.train import Train
from anime_lora.diffusion import device as machine
from anime_lora.diffusion.base_model import load_pipeline
from anime_lora.lora import adapter
from anime_lora.training.batch import TrainingImage, in_groups
from anime_lora.training.latent_cache import LatentCache
from anime_lora.training.processes import Stop
from anime_lora.training.trainer import Trainer, prepare_pipeline
from benchmarks.subjects import POCKET, read, sd15


class Plain:
    """The example script's loop: everything encoded at every step."""

    def __init__(self, pipe: StableDiffusionPipeline, settings: Train, side: int, device: torch.device) -> None:
        self.pipe, self.settings, self.side, self.device = pipe, settings, side, device
        targets = list(adapter.TARGETS[settings.target])
        config = LoraConfig(
            r=settings.rank, lora_alpha=settings.alpha, init_lora_weights="gaussian", target_modules=targets
        )
        self.dtype = machine.DTYPES[settings.precision]
        for module in (pipe.unet, pipe.vae, pipe.text_encoder):
            module.requires_grad_(False).to(device, self.dtype)
        pipe.unet.add_adapter(config)
        cast_training_params(pipe.unet, dtype=torch.float32)
        pipe.unet.train()
        self.trained = [p for p in pipe.unet.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(self.trained, lr=settings.learning_rate)
        self.noise = DDPMScheduler.from_config(pipe.scheduler.config)

    def step(self, images: list[TrainingImage], micro: int) -> None:
        """One step on `images`, `micro` of them at once."""
        for some in in_groups(images, micro):
            (self._loss(some) * len(some) / len(images)).backward()
        torch.nn.utils.clip_grad_norm_(self.trained, self.settings.max_grad_norm)
        self.optimizer.step()
        self.optimizer.zero_grad()

    def _loss(self, images: list[TrainingImage]) -> Tensor:
        pixels = torch.stack([self._pixels(image) for image in images]).to(self.device, self.pipe.vae.dtype)
        latents = self.pipe.vae.encode(pixels).latent_dist.sample() * self.pipe.vae.config.scaling_factor
        noise = torch.randn_like(latents)
        times = torch.randint(0, self.noise.config.num_train_timesteps, (len(images),), device=self.device)
        ids = self.pipe.tokenizer(
            [p.text for p in images], padding="max_length", truncation=True, max_length=77, return_tensors="pt"
        ).input_ids.to(self.device)
        words = self.pipe.text_encoder(ids, return_dict=False)[0]
        with torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32):
            prediction = self.pipe.unet(self.noise.add_noise(latents, noise, times), times, words, return_dict=False)[0]
        return functional.mse_loss(prediction.float(), noise.float())

    def _pixels(self, image: TrainingImage) -> Tensor:
        with Image.open(image.path) as opened:
            values = np.asarray(opened.convert("RGB").resize((self.side, self.side)), dtype=np.float32)
        return torch.from_numpy(values.transpose(2, 0, 1) / 127.5 - 1)


def seconds(work: Callable[[], object], device: torch.device) -> float:
    """Wall time of `work`, the device's queue drained."""
    start = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def floor(trainer: Trainer) -> float:
    """FLOPs that a step cannot do without: the UNet forward, and backward to activations only (weights are frozen)."""
    batch = trainer.batches.build(trainer.epoch_groups(0)[0])
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        trainer.loss(batch)
    return 2.0 * counter.get_total_flops()


def peak(device: torch.device, dtype: torch.dtype) -> float:
    """FLOP/s of a large matrix product here, the best of five."""
    side = 8192 if device.type == "cuda" else 2048
    a = torch.randn(side, side, device=device, dtype=dtype)
    return 2 * side**3 / min(seconds(lambda: a @ a, device) for _ in range(5))


def main() -> None:
    """Print medians, ratio, memory and the share of the floor."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--base", default="pocket", choices=("pocket", "sd15"))
    parser.add_argument("--weights", type=Path, help="folder for sd15's random weights, kept when they are there")
    parser.add_argument("--steps", type=int, default=10, help="steps of each side")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--precision", default="fp32", choices=("fp32", "bf16", "fp16"))
    parser.add_argument("--resolution", type=int, help="pixels; default: 256 for pocket, 512 for sd15")
    parser.add_argument("--plain-batch", type=int, help="images the plain loop computes at once; default: --batch")
    parser.add_argument("--target", choices=tuple(adapter.TARGETS), help="default: as params.yaml has it")
    parser.add_argument("--no-memory", dest="memory", action="store_false", help="leave out each loop's own process")
    options = parser.parse_args()
    side = options.resolution or {"pocket": 256, "sd15": 512}[options.base]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        compare(options, side, POCKET if options.base == "pocket" else sd15(options.weights or folder / "base"), folder)


def settings_of(options: argparse.Namespace) -> Train:
    """The train section of params.yaml with the command line's changes."""
    changes = {"batch_size": options.batch, "precision": options.precision, "gradient_accumulation_steps": 1}
    return load_params(PARAMS).train.model_copy(update=changes | ({"target": options.target} if options.target else {}))


def device_here() -> torch.device:
    """Where training would run."""
    return torch.device(machine.pick_device(load_params(PARAMS).compute.device))


def open_ours(settings: Train, side: int, base: Path, folder: Path, count: int) -> Trainer:
    """Our trainer on `count` images, nothing encoded yet; also for the benchmark of the fused layers."""
    accelerator = machine.new_accelerator(settings, str(device_here()))
    pipe = load_pipeline(base, machine.DTYPES[settings.precision])
    latents = LatentCache(folder / "cache", pipe.vae, side)
    prepare_pipeline(pipe, settings, accelerator.device)
    names = {"folder": folder / "work", "fingerprint": "mark", "name": "t_c"}
    return Trainer(pipe, settings, accelerator, latents, read(count, side, folder), **names, stop=Stop())


def alone(name: str, options: argparse.Namespace, side: int, base: Path, folder: Path) -> int:
    """Bytes that one loop needs at most when it has a process to itself: set up, two steps (on a CPU: with encoding).

    Ours encodes before training, in memory that it gives back; a GPU's peak can be counted from there.
    """
    settings, device = settings_of(options), device_here()
    if name == "ours":
        trainer = open_ours(settings, side, base, folder, 4 * options.batch)
        group = trainer.epoch_groups(0)[0]
        trainer.latents.fill([example.image for example in group], [False], lambda: None)
        reset_peak(device)
        trainer.train_mode()
        for _ in range(2):
            trainer.step(group)
        return machine.memory_peak(device)
    images = read(options.batch, side, folder)
    reset_peak(device)
    plain = Plain(load_pipeline(base, machine.DTYPES[options.precision]), settings, side, device)
    for _ in range(2):
        plain.step(images, options.plain_batch or options.batch)
    return machine.memory_peak(device)


def reset_peak(device: torch.device) -> None:
    """Count a GPU's peak from here."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def peaks(*arguments: Any) -> dict[str, float]:
    """GiB that each loop needs at most, each measured in a fresh process."""
    memory = {}
    for name in ("plain", "ours"):
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
            memory[name] = pool.submit(alone, name, *arguments).result() / 2**30
    return memory


def compare(options: argparse.Namespace, side: int, base: Path, folder: Path) -> None:
    """Alternate the two loops and print the table."""
    memory = peaks(options, side, base, folder) if options.memory else {}
    settings, device, dtype = settings_of(options), device_here(), machine.DTYPES[options.precision]
    trainer = open_ours(settings, side, base, folder, 4 * options.batch)
    shutil.rmtree(folder / "cache", ignore_errors=True)
    images = trainer.train_images
    encoded = seconds(lambda: trainer.latents.fill(images, [False], lambda: None), device) / len(images)
    plain = Plain(load_pipeline(base, dtype), settings, side, device)
    parts = trainer.epoch_groups(0)
    trainer.train_mode()
    ours, theirs = [], []
    for number in range(options.steps + 1):
        part = parts[number % len(parts)]
        ours.append(seconds(lambda part=part: trainer.step(part), device))
        same = [example.image for example in part]
        theirs.append(seconds(lambda same=same: plain.step(same, options.plain_batch or options.batch), device))
    mine, other = statistics.median(ours[1:]), statistics.median(theirs[1:])
    ratios = [b / a for a, b in zip(ours[1:], theirs[1:], strict=True)]
    share = floor(trainer) / peak(device, dtype) / mine
    where = f"{device}, {torch.get_num_threads()} threads"
    print(f"{options.base}, {side} px, batch {options.batch}, {options.precision}, {settings.target}, {where}")
    micro = options.plain_batch or options.batch
    print(f"| | plain loop, {micro} x {options.batch // micro} | ours, {options.batch} x 1 |\n|---|---|---|")
    print(f"| median step, s | {other:.3f} | {mine:.3f} |")
    print(f"| images per second | {options.batch / other:.2f} | {options.batch / mine:.2f} |")
    if memory:
        print(f"| peak memory of a process with this loop alone, GiB | {memory['plain']:.2f} | {memory['ours']:.2f} |")
    middle = statistics.median(ratios)
    print(f"ratio: median {middle:.2f} of {len(ratios)} pairs ({min(ratios):.2f} to {max(ratios):.2f})")
    print(f"encoding an image, once in our loop: {encoded:.3f} s")
    print(f"share of the FLOP floor (forward and backward to activations at this machine's matrix speed): {share:.0%}")


if __name__ == "__main__":
    main()
