"""The maths against numbers worked out by hand."""

import pytest
import torch

from anime_lora.training import losses

HALF = torch.tensor([0.64])  # √ᾱ = 0.8, √(1−ᾱ) = 0.6


def full(value: float) -> torch.Tensor:
    return torch.full((1, 1, 1, 1), value)


def test_noised_mixes_signal_and_noise() -> None:
    """0.8·2 + 0.6·1 = 2.2."""
    assert losses.noised(full(2), full(1), HALF).item() == pytest.approx(2.2)


def test_target_is_epsilon_or_v() -> None:
    """ε is the noise itself; v = 0.8·1 − 0.6·2 = −0.4."""
    assert losses.target(full(2), full(1), HALF, "epsilon").item() == 1
    assert losses.target(full(2), full(1), HALF, "v_prediction").item() == pytest.approx(-0.4)


def test_v_agrees_with_diffusers() -> None:
    """Our v is the scheduler's get_velocity, and our noising its add_noise."""
    from diffusers import DDPMScheduler

    scheduler = DDPMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
    x0, epsilon, t = torch.randn(3, 4, 8, 8), torch.randn(3, 4, 8, 8), torch.tensor([0, 400, 999])
    alpha_bar = scheduler.alphas_cumprod[t]
    torch.testing.assert_close(losses.noised(x0, epsilon, alpha_bar), scheduler.add_noise(x0, epsilon, t))
    velocity = scheduler.get_velocity(x0, epsilon, t)
    torch.testing.assert_close(losses.target(x0, epsilon, alpha_bar, "v_prediction"), velocity)


def test_min_snr_weight() -> None:
    """SNR 16: min(16, 5)/16 for ε, 5/17 for v; SNR 1 below γ: 1 for ε, 1/2 for v."""
    alpha_bar = torch.tensor([16 / 17, 0.5])
    torch.testing.assert_close(losses.min_snr_weight(alpha_bar, 5.0, "epsilon"), torch.tensor([5 / 16, 1.0]))
    torch.testing.assert_close(losses.min_snr_weight(alpha_bar, 5.0, "v_prediction"), torch.tensor([5 / 17, 0.5]))


def test_noise_offset_moves_the_mean() -> None:
    """Noise 1 with offset sample 2 at strength 0.1 is 1.2."""
    assert losses.shifted(full(1), full(2), 0.1).item() == pytest.approx(1.2)


def test_error_is_per_sample_and_fp32() -> None:
    """bf16 in, fp32 out: errors 1² and 3²."""
    prediction = torch.stack([torch.ones(1, 2, 2), 3 * torch.ones(1, 2, 2)]).bfloat16()
    found = losses.squared_error(prediction, torch.zeros(2, 1, 2, 2))
    assert found.dtype == torch.float32
    assert found.tolist() == [1.0, 9.0]


def test_latent_is_mean_plus_deviation() -> None:
    """(1 + e^0 · 2) · 0.5 = 1.5."""
    assert losses.latent(full(1), full(0), full(2), 0.5).item() == 1.5
