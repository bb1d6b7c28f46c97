"""Trial: does this LoRA file load onto the base and draw?"""

from pathlib import Path

import numpy as np
import torch

from anime_lora.config.sample import ValidateSample
from anime_lora.config.section import Base, Compute, Concept
from anime_lora.errors import SamplingError
from anime_lora.sampling.generate import generator
from anime_lora.sampling.pipelines import STYLE, Artist
from anime_lora.sampling.suite import Wording

FLAT = 1e-3
"""Standard deviation of a picture's values in [0, 1] below which it shows nothing."""


@torch.inference_mode()
def trial(file: Path, section: ValidateSample, concept: Concept, base: Base, compute: Compute) -> str:
    """Draw the suite's first prompt and seed with the LoRA at full weight; what was drawn, in words.

    Raises:
        AnimeLoraError: base or file do not load.
        SamplingError: the picture is not finite, or one flat colour.
    """
    artist = Artist(base, compute)
    artist.load(file)
    artist.weigh({STYLE: 1.0})
    prompt = Wording(concept.trigger, concept.class_name).prompt(section.prompts[0])
    asked = {"num_inference_steps": section.steps, "guidance_scale": section.guidance, "output_type": "latent"}
    noise = generator(section.seeds[0])
    latents = artist.text(prompt, generator=noise, height=artist.size, width=artist.size, **asked).images
    vae = artist.text.vae
    picture = np.asarray(vae.decode(latents / vae.config.scaling_factor).sample.float().cpu())
    if not np.isfinite(picture).all():
        raise SamplingError(f"{file} draws values that are no numbers: the file is damaged, train it again")
    spread = float(np.clip(picture / 2 + 0.5, 0, 1).std())
    if spread < FLAT:
        raise SamplingError(f"{file} draws one flat colour (spread {spread:.2g}): the file is damaged, train it again")
    return f"drew {artist.size} px of '{prompt}' with {file}: finite, spread {spread:.3f}"
