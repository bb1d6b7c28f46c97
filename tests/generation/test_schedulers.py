import pytest
import torch
from diffusers import DDIMScheduler, EulerDiscreteScheduler

from anime_lora.errors import SamplingError
from anime_lora.generation.schedulers import canonical, make, names

OWN = DDIMScheduler(
    beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False, steps_offset=1
)


@pytest.mark.parametrize(("text", "schedule_type", "name"), [
    ("euler a", "", "Euler a"), ("DPM++ 2M Karras", "", "DPM++ 2M Karras"), ("dpm++ 2m", "Karras", "DPM++ 2M Karras"),
    ("dpmpp_2m_sde", "karras", "DPM++ 2M SDE Karras"), ("euler_ancestral", "normal", "Euler a"), ("PNDM", "", "PLMS"),
    ("DPMSolverMultistepScheduler", "", "DPM++ 2M"), ("DDIM", "Automatic", "DDIM"), ("  UniPC ", "", "UniPC"),
    ("EulerAncestralDiscrete", "", "Euler a"), ("Euler", "Exponential", "Euler Exponential"),
])  # fmt: skip
def test_names_of_web_uis_diffusers_and_comfyui_are_known(text: str, schedule_type: str, name: str) -> None:
    assert canonical(text, schedule_type) == name


@pytest.mark.parametrize(("text", "hint"), [
    ("Euler b", "did you mean 'Euler"), ("DPM+ 2M Karras", "did you mean 'DPM++ 2M Karras'"),
    ("zzz", "there are: Euler"),
])  # fmt: skip
def test_an_unknown_name_is_answered_with_the_nearest(text: str, hint: str) -> None:
    with pytest.raises(SamplingError) as raised:
        canonical(text)
    assert hint in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("name", names())
def test_every_scheduler_denoises_with_the_base_s_noise_and_prediction(name: str, prediction: str) -> None:
    """A perfect prediction leads back to the image, whatever the scheduler: here to a constant of 0.5."""
    scheduler = make(name, DDIMScheduler.from_config(OWN.config, prediction_type=prediction))
    assert scheduler.config.beta_end == 0.012
    assert scheduler.config.prediction_type == prediction
    scheduler.set_timesteps(8)
    generator = torch.Generator().manual_seed(1)
    noise = torch.randn(1, 4, 8, 8, generator=generator)
    alphas = OWN.alphas_cumprod
    sample = noise * scheduler.init_noise_sigma
    with_generator = {"generator": generator} if "generator" in scheduler.step.__code__.co_varnames else {}
    for step in scheduler.timesteps:
        latents = scheduler.scale_model_input(sample, step)
        alpha = alphas[min(round(float(step)), 999)]
        rest = (latents - 0.5 * alpha.sqrt()) / (1 - alpha).sqrt()
        velocity = alpha.sqrt() * rest - (1 - alpha).sqrt() * 0.5
        prediction_now = rest if prediction == "epsilon" else velocity
        sample = scheduler.step(prediction_now, step, sample, **with_generator).prev_sample
    assert sample.mean().item() == pytest.approx(0.5, abs=0.1)
    assert sample.std() < 0.2


def test_a_base_keeps_its_own_scheduler_where_its_name_is_asked_for() -> None:
    own = DDIMScheduler.from_config(OWN.config, timestep_spacing="trailing", rescale_betas_zero_snr=True)
    assert dict(make("DDIM", own).config) == dict(own.config)


def test_the_steps_begin_at_the_noisiest_one_unless_the_base_says_otherwise() -> None:
    """As k-diffusion's do in webuis; DDIM's steps of 1 to 951 are the base's own."""
    first = {}
    for spacing in ("leading", "trailing"):
        scheduler = make("Euler", DDIMScheduler.from_config(OWN.config, timestep_spacing=spacing))
        assert isinstance(scheduler, EulerDiscreteScheduler)
        scheduler.set_timesteps(20)
        first[spacing] = float(scheduler.timesteps[0])
    assert first == {"leading": 999, "trailing": 999}
    assert make(
        "Euler", DDIMScheduler.from_config(OWN.config, timestep_spacing="trailing")
    ).config.timestep_spacing == ("trailing")
