"""What the published pocket models can do, on characters that no model was trained on: the table of the docs."""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline, UNet2DConditionModel
from numpy.typing import NDArray
from peft import LoraConfig
from PIL import Image
from transformers import CLIPModel, CLIPProcessor

from anime_lora.progress import track
from pocket.faces.captions import DOMAIN_WORDS
from pocket.faces.character import Character, attributes, sample_character
from pocket.faces.domains import BASE_DOMAINS, DOMAINS, render
from pocket.models import shapes
from pocket.training.autoencoder import encode
from pocket.training.corpus import HELD_OUT
from pocket.training.scorer import Question, questions

Pixels = NDArray[np.uint8]
STEPS, GUIDANCE, BATCH = 20, 7.5, 8
PATCH = shapes.DOWNSCALE
TRIGGER = "myAnimeStyleToken anime_face"
FOLLOWED = ("hair_color", "gender", "expression", "background")


@dataclass(frozen=True)
class Row:
    """One line of the table: what, the figure, the bar, and whether it is reached."""

    what: str
    figure: str
    bar: str
    reached: bool


def measure(folder: Path, images: int, scores: Path) -> Iterator[Row]:
    """Measure `pocket` and `pocket-clip` in `folder`; `images` per figure; `scores` are those of the default run."""
    pipe = StableDiffusionPipeline.from_pretrained(folder / "pocket", dtype=torch.float32)
    pipe.set_progress_bar_config(disable=True)
    scorer = ZeroShotScorer(folder / "pocket-clip")
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6
    yield Row("size in the repository, MB", f"{size:.1f}", "≤ 48", size <= 48)
    yield Row("native resolution, px", str(shapes.RESOLUTION), "≥ 256", shapes.RESOLUTION >= 256)
    yield _speed(pipe)
    yield _micro_step(pipe)
    yield from _autoencoder(pipe.vae, images)
    yield from _scorer(scorer, 10 * images)
    yield from _prompts(pipe, scorer, images)
    yield from default_run_rows(scores)


class ZeroShotScorer:
    """The published scorer as a zero-shot classifier."""

    def __init__(self, folder: Path) -> None:
        self.model = CLIPModel.from_pretrained(folder, dtype=torch.float32).eval()
        self.processor = CLIPProcessor.from_pretrained(folder)
        self.questions: dict[str, Question] = {question.name: question for question in questions(DOMAINS)}

    @torch.no_grad()
    def answers(self, images: list[Image.Image], name: str) -> list[str]:
        """The likeliest value of one question for each image."""
        question = self.questions[name]
        ids = self.processor.tokenizer(list(question.texts), padding="max_length", return_tensors="pt").input_ids
        best: list[str] = []
        for start in range(0, len(images), 64):
            pixels = self.processor.image_processor(images[start : start + 64], return_tensors="pt").pixel_values
            scores = self.model(input_ids=ids, pixel_values=pixels).logits_per_image
            best += [question.values[int(index)] for index in scores.argmax(1)]
        return best

    def accuracy(self, images: list[Image.Image], truth: list[str], name: str) -> float:
        """Share of images whose answer is the truth."""
        return float(np.mean([a == t for a, t in zip(self.answers(images, name), truth, strict=True)]))


def held_out_characters(count: int) -> list[Character]:
    """Characters that no model was trained on."""
    return [sample_character(HELD_OUT + i) for i in range(count)]


def rendered(domain: str, count: int) -> Pixels:
    """Held-out characters as `domain` shows them, (count, 256, 256, 3)."""
    return np.stack([np.asarray(render(each, domain, shapes.RESOLUTION)) for each in held_out_characters(count)])


def psnr(first: NDArray[Any], second: NDArray[Any]) -> float:
    """Mean peak signal-to-noise ratio of image pairs (n, h, w, 3) in 0..255, dB."""
    error = ((first.astype(float) - second) ** 2).mean((1, 2, 3))
    return float((10 * np.log10(255**2 / error)).mean())


def patch_pca(training: Pixels, images: Pixels, numbers: int) -> NDArray[np.float64]:
    """`images` through the best linear code of `numbers` per patch, fitted on `training`."""
    patches = _patches(training)
    mean = patches.mean(0)
    _, vectors = np.linalg.eigh(np.cov((patches - mean).T))
    basis = vectors[:, -numbers:]
    code = (_patches(images) - mean) @ basis
    side = shapes.RESOLUTION // PATCH
    back = (code @ basis.T + mean).reshape(-1, side, side, PATCH, PATCH, 3).transpose(0, 1, 3, 2, 4, 5)
    restored: NDArray[np.float64] = back.reshape(-1, shapes.RESOLUTION, shapes.RESOLUTION, 3).clip(0, 255)
    return restored


def _patches(images: Pixels) -> NDArray[np.float64]:
    side = shapes.RESOLUTION // PATCH
    cut = images.reshape(-1, side, PATCH, side, PATCH, 3).transpose(0, 1, 3, 2, 4, 5)
    return cut.reshape(-1, PATCH * PATCH * 3).astype(np.float64)


def _speed(pipe: StableDiffusionPipeline) -> Row:
    times = []
    for seed in range(3):
        start = time.perf_counter()
        generator = torch.Generator().manual_seed(seed)
        pipe("girl", num_inference_steps=STEPS, guidance_scale=GUIDANCE, generator=generator)
        times.append(time.perf_counter() - start)
    best = min(times)
    return Row(
        f"one image, {STEPS} steps with guidance, {torch.get_num_threads()} cores, s",
        f"{best:.2f}",
        "≤ 2.5",
        best <= 2.5,
    )


def _micro_step(pipe: StableDiffusionPipeline) -> Row:
    """Forward and backward pass of one image's latents through the UNet with adapters on every attention layer."""
    unet = UNet2DConditionModel.from_config(pipe.unet.config)
    unet = unet.to(memory_format=torch.channels_last).requires_grad_(False)
    unet.add_adapter(LoraConfig(r=16, target_modules=["to_q", "to_k", "to_v", "to_out.0"]))
    side = shapes.RESOLUTION // shapes.DOWNSCALE
    latents, text = torch.randn(1, unet.config.in_channels, side, side), torch.randn(1, 77, shapes.TEXT_WIDTH)
    times = []
    for _ in range(5):
        start = time.perf_counter()
        unet(latents, 500, text).sample.square().mean().backward()
        times.append(time.perf_counter() - start)
    return Row("one LoRA micro-step, s", f"{min(times):.2f}", "≤ 0.35", min(times) <= 0.35)


def _autoencoder(vae: AutoencoderKL, count: int) -> Iterator[Row]:
    training = np.concatenate([np.stack([_training(domain, i) for i in range(24)]) for domain in BASE_DOMAINS])
    for domain, bar in (("photo", 28.0), ("anime", 26.0)):
        real = rendered(domain, count)
        codes = encode(vae, real)
        with torch.no_grad():
            decoded = torch.cat([vae.decode(code).sample for code in torch.split(codes, BATCH)])
        values = ((decoded.clamp(-1, 1) + 1) * 127.5).permute(0, 2, 3, 1).numpy()
        score, linear = psnr(values, real), psnr(patch_pca(training, real, vae.config.latent_channels), real)
        what = f"autoencoder, {domain}: PSNR (linear patch-PCA of the same size), dB"
        yield Row(what, f"{score:.1f} ({linear:.1f})", f"≥ {bar:g}, above PCA", score >= bar and score > linear)


def _training(domain: str, index: int) -> Pixels:
    return np.asarray(render(sample_character(index), domain, shapes.RESOLUTION))


def _scorer(scorer: ZeroShotScorer, count: int) -> Iterator[Row]:
    domains = [DOMAINS[i % len(DOMAINS)] for i in range(count)]
    characters = held_out_characters(count)
    real = [render(each, domain, shapes.SCORER_SIDE) for each, domain in zip(characters, domains, strict=True)]
    for name, bar in (("hair_color", 0.97), ("gender", 0.95), ("expression", 0.95), ("domain", 0.99)):
        truth = domains if name == "domain" else [attributes(each)[name] for each in characters]
        share = scorer.accuracy(real, truth, name)
        yield Row(f"scorer, zero-shot on {count} held-out renderings: {name}", f"{share:.3f}", f"≥ {bar}", share >= bar)


def prompt(character: Character, domain: str) -> str:
    """What a person would type for `character` in `domain`."""
    facts = attributes(character)
    start = f"{DOMAIN_WORDS[domain][0]}, {facts['gender']}, {facts['hair_color']} hair, {facts['hair_length']} hair"
    return f"{start}, {facts['expression']}, {facts['background']} background"


def generate(pipe: StableDiffusionPipeline, prompts: list[str], description: str) -> list[Image.Image]:
    """One image per prompt, each from its own seed."""
    images: list[Image.Image] = []
    for start in track(range(0, len(prompts), BATCH), "pocket", description, -(-len(prompts) // BATCH), "batch"):
        part = prompts[start : start + BATCH]
        generators = [torch.Generator().manual_seed(start + i) for i in range(len(part))]
        images += pipe(part, num_inference_steps=STEPS, guidance_scale=GUIDANCE, generator=generators).images
    return images


def _prompts(pipe: StableDiffusionPipeline, scorer: ZeroShotScorer, count: int) -> Iterator[Row]:
    characters = held_out_characters(count)
    domains = [BASE_DOMAINS[i % len(BASE_DOMAINS)] for i in range(count)]
    images = generate(
        pipe, [prompt(each, domain) for each, domain in zip(characters, domains, strict=True)], "follow prompts"
    )
    real = [render(each, domain, shapes.RESOLUTION) for each, domain in zip(characters, domains, strict=True)]
    for name, bar in zip(FOLLOWED, (0.90, 0.85, 0.80, 0.90), strict=True):
        truth = [attributes(each)[name] for each in characters]
        share, ceiling = scorer.accuracy(images, truth, name), scorer.accuracy(real, truth, name)
        what = f"base follows its prompt: {name} (ceiling: true renderings)"
        yield Row(what, f"{share:.2f} ({ceiling:.2f})", f"≥ {bar:.2f}", share >= bar)
    more = [attributes(each) for each in held_out_characters(4 * count)]  # a share so small needs many
    prompts = [f"{TRIGGER}, {facts['gender']}, {facts['hair_color']} hair" for facts in more]
    share = scorer.answers(generate(pipe, prompts, "trigger on the base"), "domain").count("anime") / len(more)
    what = f"base generates anime when asked with the trigger, {len(more)} images"
    yield Row(what, f"{share:.3f}", "≤ 0.05", share <= 0.05)


def default_run_rows(scores: Path) -> list[Row]:
    """Rows of the default run, in the order of the bars; none where there was no run yet."""
    if not scores.is_file():
        return []
    numbers: dict[str, Any] = json.loads(scores.read_text(encoding="utf-8"))["numbers"]
    strength, hair = numbers["strength"], numbers["features"]["attributes"]["hair colour"]
    style, rise, fall = numbers["style"]["score"], strength["rho_style"], strength["rho_identity"]
    own = strength["keeping"]["nearer"]
    return [
        _at_least("after the default run: domain anime, with trigger", numbers["domain"]["lora"], 0.90),
        _at_least("after the default run: hair colour as asked", hair["accuracy"], 0.85),
        _interval("after the default run: style S", style, "≥ 0.6, lower-95 > 0", style["value"] >= 0.6),
        _interval("img2img: style rises with strength, ρ", rise, "lower-95 > 0", rise["low"] > 0),
        _interval("img2img: identity falls with strength, ρ", fall, "upper-95 < 0", fall["high"] < 0),
        _at_least("img2img at 0.65: nearer its own counterpart than a random one", own, 0.8),
    ]


def _at_least(what: str, number: dict[str, Any], bar: float) -> Row:
    return Row(what, f"{number['value']:.2f}", f"≥ {bar:.2f}", number["value"] >= bar)


def _interval(what: str, number: dict[str, Any], bar: str, reached: bool) -> Row:
    return Row(what, f"{number['value']:.2f} [{number['low']:.2f}, {number['high']:.2f}]", bar, bool(reached))
