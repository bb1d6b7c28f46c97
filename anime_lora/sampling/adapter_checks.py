"""Checks of a LoRA file on its base: the arithmetic of its weights, and that it generates an image.

The arithmetic: off is off, merged is unmerged, two adapters are the sum of their deltas. Each check compares the UNet's
prediction for fixed noise, halfway through the schedule, once per prompt.
"""

from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file

from anime_lora.config.sample import ValidateSample
from anime_lora.config.section import Base, Compute, Concept
from anime_lora.errors import SamplingError
from anime_lora.sampling.generate import noise_generator
from anime_lora.sampling.pipelines import Pipelines
from anime_lora.sampling.results import AdapterChecks
from anime_lora.sampling.suite import SECOND, STYLE, compose_prompt

SHARES = {STYLE: 0.4, SECOND: 0.6}
"""Weights at which two adapters are combined."""
FLAT = 1e-3
"""Standard deviation of an image's values in [0, 1] below which it shows nothing."""


def check_arithmetic(
    pipelines: Pipelines, file: Path, prompts: list[str], second: Path | None, label: str
) -> AdapterChecks:
    """Load the LoRA in `file` onto a base without one, which keeps it (and `second`), and compare predictions.

    Raises:
        AdapterError: a file is missing, damaged, or has other shapes than the base.
    """
    bare = _predict(pipelines, prompts)
    pipelines.load_lora(file, STYLE, label)
    pipelines.load_lora(second or file, SECOND)
    # not `set_weights`, which switches the layers off: here they take part and multiply by 0
    pipelines.text_to_image.enable_lora()
    pipelines.text_to_image.set_adapters([STYLE], [0.0])
    zero = _predict(pipelines, prompts)
    pipelines.set_weights({STYLE: 1.0})
    unmerged = _predict(pipelines, prompts)
    with pipelines.merged({STYLE: 1.0}):
        merged = _predict(pipelines, prompts)
    pipelines.set_weights(SHARES)
    both = _predict(pipelines, prompts)
    with pipelines.merged(SHARES):
        deltas = _predict(pipelines, prompts)
    pipelines.unload_loras()
    unloaded = _predict(pipelines, prompts)
    pipelines.load_lora(file, STYLE, label)
    if second is not None:
        pipelines.load_lora(second, SECOND)
    return AdapterChecks(
        prompts=tuple(prompts),
        zero=_largest_difference(zero, bare),
        merged=_largest_difference(merged, unmerged),
        sum=_largest_difference(deltas, both),
        unloaded=_largest_difference(unloaded, bare),
        effect=tuple(float((one - other).abs().mean()) for one, other in zip(unmerged, bare, strict=True)),
        second=second is not None,
        shares=tuple(SHARES.values()),
        dtype=str(pipelines.dtype),
        finite=all(bool(weight.isfinite().all()) for weight in load_file(file).values()),
    )


@torch.inference_mode()
def _predict(pipelines: Pipelines, prompts: list[str]) -> list[torch.Tensor]:
    """The UNet's prediction for each prompt: (channels, height, width), fp32 on the CPU."""
    pipe, unet = pipelines.text_to_image, pipelines.unet
    side = pipelines.size // pipe.vae_scale_factor
    noise = torch.randn((1, unet.config.in_channels, side, side), generator=noise_generator(0))
    noise = noise.to(pipelines.device, pipelines.dtype)
    middle = pipe.scheduler.config.num_train_timesteps // 2
    predictions = []
    for prompt in prompts:
        embeddings, _ = pipe.encode_prompt(prompt, pipelines.device, 1, False)
        predictions.append(unet(noise, middle, encoder_hidden_states=embeddings).sample[0].float().cpu())
    return predictions


def _largest_difference(ones: list[torch.Tensor], others: list[torch.Tensor]) -> tuple[float, ...]:
    return tuple(float((one - other).abs().max()) for one, other in zip(ones, others, strict=True))


@torch.inference_mode()
def check_adapter(file: Path, section: ValidateSample, concept: Concept, base: Base, compute: Compute) -> str:
    """Generate the suite's first prompt and seed with the LoRA at full weight; one line that says what was generated.

    Raises:
        AnimeLoraError: base or file do not load.
        SamplingError: the image is not finite, or one flat colour.
    """
    pipelines = Pipelines(base, compute)
    pipelines.load_lora(file)
    pipelines.set_weights({STYLE: 1.0})
    prompt = compose_prompt(concept, section.prompts[0])
    latents = pipelines.text_to_image(
        prompt,
        generator=noise_generator(section.seeds[0]),
        height=pipelines.size,
        width=pipelines.size,
        num_inference_steps=section.steps,
        guidance_scale=section.guidance,
        output_type="latent",
    ).images
    # decoded here and not by the pipeline, which clips values and turns NaN into black
    decoded = pipelines.vae.decode(latents / pipelines.vae.config.scaling_factor).sample
    image = np.asarray(decoded.float().cpu())
    if not np.isfinite(image).all():
        raise SamplingError(f"{file} generates values that are not finite: the file is damaged, train it again")
    spread = float(np.clip(image / 2 + 0.5, 0, 1).std())
    if spread < FLAT:
        raise SamplingError(
            f"{file} generates one flat colour (spread {spread:.2g}): the file is damaged, train it again"
        )
    return f"generated {pipelines.size} px of '{prompt}' with {file}: finite, spread {spread:.3f}"
