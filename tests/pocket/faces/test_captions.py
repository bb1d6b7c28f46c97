"""Captions vary and are true, unless false facts are asked for."""

import numpy as np
import pytest

from pocket.faces.captions import DOMAIN_WORDS, attribute_prompt, caption, domain_prompt, tags, with_false_facts
from pocket.faces.character import ATTRIBUTES, attributes, sample_character
from pocket.faces.domains import BASE_DOMAINS, DOMAINS
from tests.pocket.faces.characters import plain


@pytest.mark.parametrize("domain", DOMAINS)
def test_captions_vary(domain: str) -> None:
    """One character has many captions: lower case, most with the domain's word, some without, none empty."""
    rng = np.random.Generator(np.random.PCG64(5))
    captions = [caption(plain(), domain, rng) for _ in range(300)]
    assert len(set(captions)) > 150
    assert all(words and words == words.lower() for words in captions)
    named = [any(word in words for word in DOMAIN_WORDS[domain]) for words in captions]
    assert 0.75 < np.mean(named) < 0.95


@pytest.mark.parametrize("domain", BASE_DOMAINS)
def test_captions_of_the_base_never_say_anime(domain: str) -> None:
    """No caption the base learns from names the style, the class or the trigger."""
    rng = np.random.Generator(np.random.PCG64(6))
    text = " ".join(caption(sample_character(seed), domain, rng) for seed in range(500))
    assert "anime" not in text
    assert "token" not in text


def test_captions_tell_the_truth() -> None:
    """A caption may leave an attribute out but never names another value of it."""
    rng = np.random.Generator(np.random.PCG64(7))
    nouns = {"hair_color": "hair", "hair_length": "hair", "eye_color": "eyes", "background": "background"}
    for seed in range(500):
        character = sample_character(seed)
        text = caption(character, DOMAINS[seed % len(DOMAINS)], rng)
        for name, noun in nouns.items():
            wrong = set(ATTRIBUTES[name]) - {attributes(character)[name]}
            assert not [value for value in wrong if f"{value} {noun}" in text]
        assert not [value for value in set(ATTRIBUTES["expression"]) - {character.expression} if value in text]
        assert character.glasses or "glasses" not in text


def test_captions_use_the_missions_style_words() -> None:
    """The style words that people type into prompts are the ones the base hears."""
    rng = np.random.Generator(np.random.PCG64(8))
    words = {"chibi": "chibi style", "painterly": "ghibli style", "retro90s": "retro 90s style"}
    for domain, word in words.items():
        assert any(word in caption(plain(), domain, rng) for _ in range(60))


def test_zero_shot_texts_differ() -> None:
    """Every value of an attribute and every domain has its own text."""
    for name, values in ATTRIBUTES.items():
        assert len({attribute_prompt(name, value) for value in values}) == len(values)
    assert len({domain_prompt(domain) for domain in DOMAINS}) == len(DOMAINS)
    assert domain_prompt("anime") == "anime style"


def test_false_facts_are_the_share_asked_for() -> None:
    """With share 0 a character stays; with share 1 what captions name is mostly another's, the pose stays."""
    rng = np.random.Generator(np.random.PCG64(0))
    characters = [sample_character(seed) for seed in range(40)]
    assert [with_false_facts(each, rng, 0.0) for each in characters] == characters
    false = [with_false_facts(each, rng, 1.0) for each in characters]
    assert np.mean([tags(a) != tags(b) for a, b in zip(characters, false, strict=True)]) == 1
    assert [each.tilt for each in false] == [each.tilt for each in characters]
