"""Characters are pure functions of a seed."""

import numpy as np

from pocket.faces.character import ATTRIBUTES, attributes, sample_character


def test_a_seed_is_a_character() -> None:
    """A seed gives the same character whatever was sampled before and whatever the global generator holds."""
    first = sample_character(7)
    np.random.seed(3)
    sample_character(8)
    assert sample_character(7) == first


def test_no_two_characters_are_alike() -> None:
    """10,000 seeds give 10,000 characters, and every value of every attribute is among them."""
    characters = [sample_character(seed) for seed in range(10_000)]
    assert len(set(characters)) == len(characters)
    for name, values in ATTRIBUTES.items():
        assert {attributes(character)[name] for character in characters[:1000]} == set(values)
