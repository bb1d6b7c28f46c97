"""Schedulers by the names that webuis use, made from the base's own scheduler."""

import re
from dataclasses import dataclass, field
from typing import Any

from anime_lora.errors import SamplingError
from anime_lora.generation.values import nearest

KARRAS = {"use_karras_sigmas": True}
EXPONENTIAL = {"use_exponential_sigmas": True}
SPACINGS: dict[str, dict[str, Any]] = {"": {}, "Karras": KARRAS, "Exponential": EXPONENTIAL}
"""Schedule types of webuis beside the plain one, and diffusers' settings for them."""


@dataclass(frozen=True)
class Sampler:
    """One sampler: diffusers' class and what sets it up."""

    scheduler: str
    settings: dict[str, Any] = field(default_factory=dict)
    spacings: tuple[str, ...] = ("Karras", "Exponential")
    """Schedule types it can have."""


DPM_SDE = {"algorithm_type": "sde-dpmsolver++"}
SAMPLERS = {
    "Euler": Sampler("EulerDiscreteScheduler"),
    "Euler a": Sampler("EulerAncestralDiscreteScheduler", spacings=()),
    "DPM++ 2M": Sampler("DPMSolverMultistepScheduler"),
    "DPM++ 2M SDE": Sampler("DPMSolverMultistepScheduler", DPM_SDE),
    "DPM++ SDE": Sampler("DPMSolverSinglestepScheduler", {**DPM_SDE, "lower_order_final": True}),
    "DPM++ 2S": Sampler("DPMSolverSinglestepScheduler", {"lower_order_final": True}),
    "DPM++ 3M SDE": Sampler("DPMSolverMultistepScheduler", {**DPM_SDE, "solver_order": 3}),
    "DPM2": Sampler("KDPM2DiscreteScheduler"),
    "DPM2 a": Sampler("KDPM2AncestralDiscreteScheduler"),
    "Heun": Sampler("HeunDiscreteScheduler"),
    "LMS": Sampler("LMSDiscreteScheduler"),
    "DDIM": Sampler("DDIMScheduler", {"set_alpha_to_one": False, "clip_sample": False, "steps_offset": 1}, spacings=()),
    "DDPM": Sampler("DDPMScheduler", {"clip_sample": False}, spacings=()),
    "PLMS": Sampler("PNDMScheduler", {"skip_prk_steps": True, "steps_offset": 1}, spacings=()),
    "UniPC": Sampler("UniPCMultistepScheduler"),
    "DEIS": Sampler("DEISMultistepScheduler"),
    "LCM": Sampler("LCMScheduler", spacings=()),
}
"""By name, as A1111 and Forge list them."""
LEADING = {"DDIM", "DDPM", "PLMS", "LCM"}
"""Those that keep diffusers' spacing of steps; the others have k-diffusion's, from the noisiest step to the least."""
ALIASES = {
    "euler ancestral": "Euler a", "euler_ancestral": "Euler a", "k_euler": "Euler", "k_euler_a": "Euler a",
    "dpmpp_2m": "DPM++ 2M", "dpmpp_2m_sde": "DPM++ 2M SDE", "dpmpp_2m_sde_gpu": "DPM++ 2M SDE",
    "dpmpp_sde": "DPM++ SDE", "dpmpp_sde_gpu": "DPM++ SDE", "dpmpp_3m_sde": "DPM++ 3M SDE", "dpm_2": "DPM2",
    "dpm_2_ancestral": "DPM2 a", "uni_pc": "UniPC", "uni_pc_bh2": "UniPC", "pndm": "PLMS", "lms": "LMS",
    "dpm++ 2s a": "DPM++ 2S", "dpmpp_2s_ancestral": "DPM++ 2S",
}  # fmt: skip
"""Names of ComfyUI, diffusers and older webuis, in lower case."""


def names() -> list[str]:
    """Every name, those with a schedule type too."""
    return [
        name + (f" {spacing}" if spacing else "") for name, one in SAMPLERS.items() for spacing in ("", *one.spacings)
    ]


def canonical(text: str, schedule_type: str = "") -> str:
    """The name that `text` means, whatever its case; a name of diffusers or ComfyUI is one too.

    Args:
        text: such as `euler a`, `DPM++ 2M Karras`, `DPMSolverMultistepScheduler`.
        schedule_type: such as `Karras`, where a webui writes it apart.

    Raises:
        SamplingError: there is none; says which is the nearest.
    """
    plain = " ".join(text.split())
    known = {name.lower(): name for name in names()}
    spacing = next((one for one in SPACINGS if one and schedule_type.lower() == one.lower()), "")
    base = re.sub(r" (karras|exponential)$", "", plain, flags=re.IGNORECASE)
    tail = plain[len(base) :] or (f" {spacing}" if spacing else "")
    classes = {one.scheduler.removesuffix("Scheduler").lower(): name for name, one in reversed(SAMPLERS.items())}
    first = ALIASES.get(base.lower()) or classes.get(base.removesuffix("Scheduler").lower()) or base
    name = known.get((first + tail).lower())
    if name is None:
        raise SamplingError(
            f"--scheduler {text}: there is no such scheduler; {nearest(plain, names(), list(SAMPLERS))}"
        )
    return name


def make(name: str, base: Any) -> Any:
    """The scheduler of that name for a base's noise schedule and prediction.

    A base whose own scheduler is of that kind keeps it: its settings are those it was trained to be sampled with.

    Args:
        name: as `canonical` gives it.
        base: the base's own scheduler.
    """
    import diffusers  # here: names are read, and mistakes in them answered, without loading it

    spacing = next((one for one in SPACINGS if one and name.endswith(f" {one}")), "")
    plain = name.removesuffix(f" {spacing}") if spacing else name
    sampler = SAMPLERS[plain]
    kind = getattr(diffusers, sampler.scheduler)
    if type(base) is kind and not spacing and not sampler.settings.keys() & {"algorithm_type", "solver_order"}:
        return kind.from_config(base.config)
    settings = {**sampler.settings, **SPACINGS[spacing]}
    # DDIM's and PNDM's leading steps never begin at the noisiest one; zero-SNR bases come with "trailing", which stays
    if base.config.get("timestep_spacing", "leading") == "leading":
        settings["timestep_spacing"] = "leading" if plain in LEADING else "linspace"
    return kind.from_config(base.config, **settings)
