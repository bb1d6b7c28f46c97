"""Randomness is a pure function of (seed, epoch, image)."""

import random

import numpy as np
import torch

from anime_lora.diffusion.rng import epoch_order, sample_bool, sample_noise, shuffled

IDS = [f"image {i}" for i in range(50)]


def test_same_key_same_sample_and_nothing_global_moves() -> None:
    """A sample repeats, differs between epochs, and leaves the global generators as they were."""
    torch.manual_seed(3)
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()
    first, again, later = (sample_noise(1, epoch, "a", (4, 8, 8), 1000) for epoch in (0, 0, 1))
    assert torch.equal(first.noise, again.noise)
    assert torch.equal(first.posterior, again.posterior)
    assert first.timestep == again.timestep
    assert not torch.equal(first.noise, later.noise)
    assert not torch.equal(first.noise, first.posterior)
    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1] == random.getstate()
    assert before[2] == np.random.get_state()[1].tolist()


def test_an_epoch_shows_each_image_once_in_an_order_of_its_own() -> None:
    """Every image once; another epoch or seed, another order."""
    assert sorted(epoch_order(IDS, 1, 0)) == list(range(50))
    assert epoch_order(IDS, 1, 0) != epoch_order(IDS, 1, 1)
    assert epoch_order(IDS, 1, 0) != epoch_order(IDS, 2, 0)


def test_one_more_image_leaves_the_others_in_order() -> None:
    """The order is by image, not by position."""
    with_one = [[*IDS, "new"][i] for i in epoch_order([*IDS, "new"], 1, 0)]
    assert [name for name in with_one if name != "new"] == [IDS[i] for i in epoch_order(IDS, 1, 0)]


def test_timesteps_are_uniform() -> None:
    """Over 4000 epochs each tenth of the schedule is met about 400 times."""
    steps = np.array([sample_noise(1, epoch, "a", (1, 1, 1), 1000).timestep for epoch in range(4000)])
    counts = np.histogram(steps, bins=10, range=(0, 1000))[0]
    assert counts.min() > 320
    assert counts.max() < 480


def test_sample_bool_is_fair_to_its_probability() -> None:
    """A probability of 0.2 gives true about 200 times in 1000; 0 and 1 are certain."""
    assert 150 < sum(sample_bool(0.2, "x", i) for i in range(1000)) < 250
    assert not any(sample_bool(0.0, i) for i in range(100))
    assert all(sample_bool(1.0, i) for i in range(100))


def test_shuffled_repeats() -> None:
    """The same key gives the same order of the same things."""
    assert shuffled(IDS, "k") == shuffled(IDS, "k") != IDS
    assert sorted(shuffled(IDS, "k")) == sorted(IDS)
