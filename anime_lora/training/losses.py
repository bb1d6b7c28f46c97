"""Loss, target and weight as pure functions of tensors; ᾱ, x₀, ε, v as in the papers.

Shapes: x₀, ε, prediction (n, C, h, w); ᾱ, SNR, weights and losses (n,).
"""

import torch
from torch import Tensor


def noised(x0: Tensor, epsilon: Tensor, alpha_bar: Tensor) -> Tensor:
    """xₜ = √ᾱ x₀ + √(1−ᾱ) ε (Ho et al. 2020, eq. 4)."""
    signal = alpha_bar.sqrt().view(-1, 1, 1, 1)
    sigma = (1 - alpha_bar).sqrt().view(-1, 1, 1, 1)
    return signal * x0 + sigma * epsilon


def target(x0: Tensor, epsilon: Tensor, alpha_bar: Tensor, prediction: str) -> Tensor:
    """What the UNet learns to predict: ε, or v = √ᾱ ε − √(1−ᾱ) x₀ (Salimans & Ho 2022)."""
    if prediction == "epsilon":
        return epsilon
    return noised(epsilon, -x0, alpha_bar)


def snr(alpha_bar: Tensor) -> Tensor:
    """Signal-to-noise ratio ᾱ / (1−ᾱ)."""
    return alpha_bar / (1 - alpha_bar)


def min_snr_weight(alpha_bar: Tensor, gamma: float, prediction: str) -> Tensor:
    """min(SNR, γ)/SNR for ε, min(SNR, γ)/(SNR+1) for v (Hang et al. 2023)."""
    ratio = snr(alpha_bar)
    return ratio.clamp(max=gamma) / (ratio if prediction == "epsilon" else ratio + 1)


def shifted(epsilon: Tensor, offset: Tensor, strength: float) -> Tensor:
    """Noise with a mean of its own per channel (noise offset, Guttenberg 2023); `offset` is (n, C, 1, 1)."""
    return epsilon + strength * offset


def squared_error(prediction: Tensor, target: Tensor) -> Tensor:
    """Mean squared error of each sample, in fp32."""
    return (prediction.float() - target.float()).square().mean(dim=(1, 2, 3))


def latent(mean: Tensor, log_variance: Tensor, noise: Tensor, scaling: float) -> Tensor:
    """A sample of the VAE's posterior in the UNet's units; same shape as each argument."""
    return (mean + torch.exp(0.5 * log_variance) * noise) * scaling
