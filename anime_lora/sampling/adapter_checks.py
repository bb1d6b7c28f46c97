"""The LoRA's arithmetic on this base: off is off, merged is unmerged, two are the sum of their deltas.

Each check compares the UNet's prediction for fixed noise, halfway through the schedule, once per prompt.
"""

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from anime_lora.sampling.generate import generator
from anime_lora.sampling.pipelines import SECOND, STYLE, Pipelines, merged

SHARES = {STYLE: 0.4, SECOND: 0.6}
"""Weights at which two adapters are combined."""


@torch.inference_mode()
def predict(pipelines: Pipelines, prompt: str) -> torch.Tensor:
    """The UNet's prediction for one prompt: (channels, height, width), fp32 on the CPU."""
    pipe, unet = pipelines.text, pipelines.text.unet
    embeddings, _ = pipe.encode_prompt(prompt, pipelines.device, 1, False)
    shape = (1, unet.config.in_channels, *([pipelines.size // pipe.vae_scale_factor] * 2))
    noise = torch.randn(shape, generator=generator(0)).to(pipelines.device, pipelines.dtype)
    middle = pipe.scheduler.config.num_train_timesteps // 2
    predicted: torch.Tensor = unet(noise, middle, encoder_hidden_states=embeddings).sample
    return predicted[0].float().cpu()


def check_adapter(
    pipelines: Pipelines, file: Path, prompts: list[str], second: Path | None, label: str
) -> dict[str, Any]:
    """Load the LoRA in `file` on a bare `pipelines`, which keeps it (and `second`), and compare predictions.

    Returns:
        Largest absolute differences, one per prompt: `zero` (weight 0 against the bare base), `merged` (against
        unmerged), `sum` (two adapters at `SHARES` against both deltas added to the weights; a copy of the first
        stands in where there is no second), `unloaded` (after unloading against the bare base); and `effect`,
        the LoRA's own mean absolute change, to compare them with; and `finite`: no weight in the file is NaN or
        infinite.
    """
    bare = [predict(pipelines, prompt) for prompt in prompts]
    pipelines.load(file, STYLE, label)
    pipelines.load(second or file, SECOND)
    pipelines.text.enable_lora()
    pipelines.text.set_adapters([STYLE], [0.0])
    zero = [predict(pipelines, prompt) for prompt in prompts]
    pipelines.set_weights({STYLE: 1.0})
    alone = [predict(pipelines, prompt) for prompt in prompts]
    with merged(pipelines, {STYLE: 1.0}):
        folded = [predict(pipelines, prompt) for prompt in prompts]
    pipelines.set_weights(SHARES)
    both = [predict(pipelines, prompt) for prompt in prompts]
    with merged(pipelines, SHARES):
        total = [predict(pipelines, prompt) for prompt in prompts]
    pipelines.unload()
    unloaded = [predict(pipelines, prompt) for prompt in prompts]
    pipelines.load(file, STYLE, label)
    if second is not None:
        pipelines.load(second, SECOND)
    effect = [float((one - other).abs().mean()) for one, other in zip(alone, bare, strict=True)]
    return {
        "prompts": prompts,
        "zero": _largest(zero, bare),
        "merged": _largest(folded, alone),
        "sum": _largest(total, both),
        "unloaded": _largest(unloaded, bare),
        "effect": effect,
        "second": second is not None,
        "shares": list(SHARES.values()),
        "dtype": str(pipelines.dtype),
        "finite": all(bool(weight.isfinite().all()) for weight in load_file(file).values()),
    }


def _largest(ones: list[torch.Tensor], others: list[torch.Tensor]) -> list[float]:
    return [float((one - other).abs().max()) for one, other in zip(ones, others, strict=True)]
