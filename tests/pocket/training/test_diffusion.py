"""The weights of the diffusion losses."""

import torch

from pocket.training.diffusion import velocity_weights, weights


def test_min_snr_weights_equal_hand_computed_numbers() -> None:
    """Weights are 1 from SNR 1 to gamma, gamma / SNR above, SNR^-power below."""
    expected = torch.tensor([2.0, 1.0, 1.0, 5 / 9])
    torch.testing.assert_close(weights(torch.tensor([0.2, 0.5, 0.75, 0.9]), 5.0, 0.5), expected)


def test_velocity_weights_equal_hand_computed_numbers() -> None:
    """1 up to SNR 5; above it 6 / (SNR + 1)."""
    expected = torch.tensor([1.0, 1.0, 6 / 20])
    torch.testing.assert_close(velocity_weights(torch.tensor([0.1, 5 / 6, 0.95]), 5.0), expected)
