"""Sums are exact, lower ranks the best there are, and what is lost is said."""

import math
from pathlib import Path

import pytest
import torch

from anime_lora.errors import AdapterError
from anime_lora.lora.adapter import ModuleWeights
from anime_lora.lora.arithmetic import merge, resize
from anime_lora.lora.weights import read_weights
from tests.support import lora_files as files
from tests.support.tiny import tiny_pipeline

PIPE = tiny_pipeline()


@pytest.mark.parametrize("kind", files.KINDS)
@pytest.mark.parametrize("weights", [(0.7, 0.5), (1.0, -1.5)])
def test_a_merge_is_the_sum_of_the_deltas(tmp_path: Path, kind: str, weights: tuple[float, float]) -> None:
    """Of every kind with a plain LoRA of other modules and ranks, to 1e-5."""
    one = read_weights(files.write(tmp_path, kind, PIPE, seed=1)).modules
    two = read_weights(files.write(tmp_path, "locon", PIPE, seed=2)).modules
    merged = merge([(one, weights[0]), (two, weights[1])])
    assert merged.keys() == one.keys() | two.keys()
    for path, module in merged.items():
        parts = [(lora[path], weight) for lora, weight in zip((one, two), weights, strict=True) if path in lora]
        expected = sum(weight * part.delta().reshape(module.delta().shape) for part, weight in parts)
        torch.testing.assert_close(module.delta(), expected, rtol=1e-5, atol=1e-5)
        assert module.rank == sum(part.rank for part, _ in parts)


def test_what_counts_nothing_is_left_out_and_nothing_at_all_is_an_error(tmp_path: Path) -> None:
    one = read_weights(files.write(tmp_path, "linear", PIPE)).modules
    other = read_weights(files.write(tmp_path, "with text encoder", PIPE)).modules
    assert merge([(one, 1.0), (other, 0.0)]).keys() == one.keys()
    with pytest.raises(AdapterError, match="every weight is 0"):
        merge([(one, 0.0)])


def test_a_dora_and_loras_of_different_bases_are_refused() -> None:
    plain = ModuleWeights(torch.ones(2, 4), torch.ones(3, 2), 1.0)
    dora = ModuleWeights(plain.down, plain.up, 1.0, torch.ones(3))
    with pytest.raises(AdapterError, match="DoRA"):
        merge([({"unet.a": dora}, 1.0)])
    wide = ModuleWeights(torch.ones(2, 5), torch.ones(3, 2), 1.0)
    with pytest.raises(AdapterError, match=r"different bases: unet\.a"):
        merge([({"unet.a": plain}, 1.0), ({"unet.a": wide}, 1.0)])


@pytest.mark.parametrize("kind", files.KINDS)
def test_a_resize_to_the_full_rank_changes_nothing(tmp_path: Path, kind: str) -> None:
    modules = read_weights(files.write(tmp_path, kind, PIPE)).modules
    resized, loss = resize(modules, rank=max(weights.rank for weights in modules.values()))
    assert resized == modules
    assert (loss.energy, loss.largest_error, loss.relative_error) == (1.0, 0.0, 0.0)


def test_a_lower_rank_is_the_nearest_and_its_loss_is_said() -> None:
    """Of a change with the singular values 3, 2, 1: at rank 2 they are 3 and 2, and 13/14 of the energy is kept."""
    torch.manual_seed(0)
    left, right = (torch.linalg.qr(torch.randn(n, 3))[0] for n in (6, 8))
    weights = ModuleWeights(right.T.contiguous(), left * torch.tensor([3.0, 2.0, 1.0]), 0.5)
    resized, loss = resize({"unet.a": weights}, rank=2)
    values = torch.linalg.svdvals(resized["unet.a"].delta())
    torch.testing.assert_close(values[:3], torch.tensor([1.5, 1.0, 0.0]), atol=1e-5, rtol=0)
    assert loss.energy == pytest.approx(13 / 14)
    assert loss.relative_error == pytest.approx(math.sqrt(1 / 14))
    difference = resized["unet.a"].delta() - weights.delta()
    assert loss.largest_error == pytest.approx(float(difference.abs().max()), rel=1e-4)
    assert "92.8571% of the energy" in str(loss)


@pytest.mark.parametrize(("energy", "rank"), [(0.6, 1), (0.9, 2), (0.93, 3), (1.0, 3)])
def test_the_rank_is_as_low_as_the_energy_to_keep_allows(energy: float, rank: int) -> None:
    """Shares of the singular values 3, 2, 1: 64 %, 93 % and all of the energy."""
    weights = ModuleWeights(torch.eye(3, 8), torch.diag(torch.tensor([3.0, 2.0, 1.0])), 1.0)
    resized, loss = resize({"unet.a": weights}, energy=energy)
    assert resized["unet.a"].rank == rank
    assert loss.energy >= energy
    assert resize({"unet.a": weights}, rank=1, energy=energy)[0]["unet.a"].rank == 1


def test_a_change_of_zero_has_no_rank_to_keep() -> None:
    weights = ModuleWeights(torch.ones(3, 8), torch.zeros(4, 3), 1.0)
    resized, loss = resize({"unet.a": weights}, energy=0.9)
    assert resized["unet.a"].rank == 1
    assert (float(resized["unet.a"].delta().abs().max()), loss.energy) == (0.0, 1.0)
