"""Trial: does this LoRA file load onto the base and generate an image?"""

from pathlib import Path

import numpy as np
import torch

from anime_lora.config.sample import ValidateSample
from anime_lora.config.section import Base, Compute, Concept
from anime_lora.errors import SamplingError
from anime_lora.sampling.generate import generator
from anime_lora.sampling.pipelines import STYLE, Pipelines
from anime_lora.sampling.suite import Wording

FLAT = 1e-3
"""Standard deviation of an image's values in [0, 1] below which it shows nothing."""


@torch.inference_mode()
def trial(file: Path, section: ValidateSample, concept: Concept, base: Base, compute: Compute) -> str:
    """Generate the suite's first prompt and seed with the LoRA at full weight; what was generated, in words.

    Raises:
        AnimeLoraError: base or file do not load.
        SamplingError: the image is not finite, or one flat colour.
    """
    pipelines = Pipelines(base, compute)
    pipelines.load(file)
    pipelines.set_weights({STYLE: 1.0})
    prompt = Wording(concept.trigger, concept.class_name).prompt(section.prompts[0])
    asked = {"num_inference_steps": section.steps, "guidance_scale": section.guidance, "output_type": "latent"}
    noise = generator(section.seeds[0])
    latents = pipelines.text(prompt, generator=noise, height=pipelines.size, width=pipelines.size, **asked).images
    vae = pipelines.text.vae
    image = np.asarray(vae.decode(latents / vae.config.scaling_factor).sample.float().cpu())
    if not np.isfinite(image).all():
        raise SamplingError(f"{file} generates values that are not finite: the file is damaged, train it again")
    spread = float(np.clip(image / 2 + 0.5, 0, 1).std())
    if spread < FLAT:
        raise SamplingError(
            f"{file} generates one flat colour (spread {spread:.2g}): the file is damaged, train it again"
        )
    return f"generated {pipelines.size} px of '{prompt}' with {file}: finite, spread {spread:.3f}"
