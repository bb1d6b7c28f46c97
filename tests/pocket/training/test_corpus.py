"""What the base and the scorer see, and what they never see."""

from hashlib import sha256

import numpy as np

from pocket.faces import samples
from pocket.faces.captions import caption
from pocket.faces.character import sample_character
from pocket.faces.domains import BASE_DOMAINS, DOMAINS, face_svg
from pocket.faces.styles import STYLES
from pocket.training.corpus import HELD_OUT, base_corpus, scorer_corpus

MEMORY = "a5f0e1aade4b430a55d5319d0f115ebaac95f8a3c09dbab39a7576539bc79160"
"""What the base was trained on; see `test_the_base_was_trained_on_these_renderings`."""


def test_the_style_to_be_learned_is_held_out() -> None:
    """The base sees every domain but anime; the scorer sees all; neither sees a held-out or a sample character."""
    assert set(DOMAINS) - set(BASE_DOMAINS) == {"anime"}
    base, scorer = base_corpus(7000, 256), scorer_corpus(8000, 128)
    assert {base.domain(index) for index in range(100)} == set(BASE_DOMAINS)
    assert {scorer.domain(index) for index in range(100)} == set(DOMAINS)
    trained = {*range(base.first, base.first + base.count), *range(scorer.first, scorer.first + scorer.count)}
    anime = range(samples.ANIME_SEED, samples.ANIME_SEED + samples.ANIME_COUNT)
    people = range(samples.PEOPLE_SEED, samples.PEOPLE_SEED + samples.PEOPLE_COUNT)
    assert max(trained) < HELD_OUT < min(*anime, *people)
    assert not set(anime) & set(people)


def test_the_base_was_trained_on_these_renderings() -> None:
    """Characters, base renderings and captions are those the weights in data/base know: change them, train again."""
    digest = sha256()
    for seed in range(30):
        character, rng = sample_character(seed), np.random.Generator(np.random.PCG64(seed))
        for domain in BASE_DOMAINS:
            digest.update(face_svg(character, STYLES[domain]).encode())
            digest.update(caption(character, domain, rng).encode())
    assert digest.hexdigest() == MEMORY
