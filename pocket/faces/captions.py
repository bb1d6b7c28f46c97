"""Captions of a character in several phrasings, sidecar tags, and the texts of zero-shot classes."""

import string
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from pocket.faces.character import Character, sample_character

DOMAIN_WORDS: dict[str, tuple[str, ...]] = {
    "photo": ("a photo", "photograph", "a photo portrait"),
    "flat": ("a flat cartoon", "cartoon drawing", "flat cartoon style"),
    "sketch": ("a pencil sketch", "pencil drawing", "sketch style"),
    "chibi": ("chibi style", "a chibi drawing", "chibi"),
    "painterly": ("ghibli style", "a painterly ghibli drawing", "ghibli, painterly"),
    "retro90s": ("retro 90s style", "a retro 90s cartoon", "retro 90s"),
    "doll": ("a doll", "doll face", "doll style"),
    "anime": ("anime style", "an anime drawing", "anime"),
}
MIXED_WORDS = ("an illustration", "a drawing", "illustration style")
"""For images in a style sampled at random."""
FILLER = (
    "high quality",
    "portrait",
    "masterpiece",
    "detailed",
    "best quality",
    "face",
    "looking at viewer",
    "solo",
    "simple background",
)
FALSIFIABLE = ("hair_color", "eye_color", "expression", "background", "gender", "hair_length", "clothes")
GENDER_WORDS = {"girl": ("girl", "a girl", "a woman", "female"), "boy": ("boy", "a boy", "a man", "male")}

PROSE = tuple(
    """
    the a an of and with in on at by for from to as is are this that it very more most high low best quality
    detailed style art artwork drawing painting illustration picture image photo photograph portrait face person
    people woman man girl boy child young old beautiful pretty cute handsome cool happy sad angry surprised
    laughing crying looking viewer smile eyes hair skin lips nose ears hat dress shirt jacket school uniform
    background sky sea forest city night day light dark soft warm cold bright colorful black white red green blue
    yellow orange purple pink brown grey silver gold long short medium curly straight wavy spiky ponytail twin
    tails bob bangs glasses blush my token anime manga cartoon sketch ghibli chibi retro painterly flat doll comic
    realistic render cinematic studio masterpiece solo simple sharp focus blurry worst bad ugly text watermark
    signature cat dog tree house car mountain flower river sun moon star water fire snow rain winter summer spring
    autumn street room
    """.split()  # noqa: SIM905
)
"""Words that prompts may hold beyond our captions: the tokenizer knows them, and augmented captions use them."""


def tags(character: Character) -> str:
    """All attributes as booru-style tags, no word about the domain."""
    return ", ".join(_facts(character))


def _facts(c: Character) -> list[str]:
    facts = [
        c.gender,
        f"{c.hair_color} hair",
        f"{c.hair_length} hair",
        c.hair_style,
        f"{c.eye_color} eyes",
        c.expression,
    ]
    return [*facts, *(["glasses"] if c.glasses else []), f"{c.background} background", f"{c.clothes} clothes"]


def caption(character: Character, domain: str, rng: np.random.Generator) -> str:
    """One of many ways to describe the image; attributes and the domain's word are left out at random."""
    return phrase(character, _one(DOMAIN_WORDS[domain], rng) if rng.random() < 0.85 else "", rng)


def phrase(character: Character, word: str, rng: np.random.Generator) -> str:
    """`character` in a sentence or in tags, some facts left out; `word` names the domain or is empty."""
    if rng.random() < 0.5:
        return _sentence(character, word, rng)
    return listed([fact for fact in _facts(character) if rng.random() < 0.7], word, rng)


def listed(facts: list[str], word: str, rng: np.random.Generator) -> str:
    """Tags in a random order now and then, with fillers, `word` first or last."""
    if rng.random() < 0.3:
        rng.shuffle(facts)
    facts += [filler for filler in FILLER if rng.random() < 0.12]
    where = 0 if rng.random() < 0.5 else len(facts)
    return ", ".join([*facts[:where], *([word] if word else []), *facts[where:]]) or "portrait"


def with_false_facts(character: Character, rng: np.random.Generator, share: float) -> Character:
    """`character` with each fact that captions name taken from someone else with probability `share`."""
    other = sample_character(int(rng.integers(900_000)))
    return replace(character, **{name: getattr(other, name) for name in FALSIFIABLE if rng.random() < share})


def _sentence(c: Character, word: str, rng: np.random.Generator) -> str:
    person = _one(GENDER_WORDS[c.gender], rng) if rng.random() < 0.9 else "a person"
    hair = " ".join(
        [*([c.hair_length] if rng.random() < 0.6 else []), *([c.hair_color] if rng.random() < 0.9 else []), "hair"]
    )
    parts = [f"with {hair}" if hair != "hair" else ""]
    parts.append(f"and {c.eye_color} eyes" if rng.random() < 0.5 else "")
    parts.append("wearing glasses" if c.glasses and rng.random() < 0.9 else "")
    parts.append(c.expression if rng.random() < 0.7 else "")
    ground = f", {c.background} background" if rng.random() < 0.6 else ""
    quality = f", {_one(FILLER, rng)}" if rng.random() < 0.3 else ""
    start = f"{word} of {person}" if word.startswith(("a ", "an ", "photo")) or word.endswith("drawing") else person
    end = "" if word in start else f", {word}"
    return " ".join([start, *(part for part in parts if part)]) + ground + end + quality


def _one(values: tuple[str, ...], rng: np.random.Generator) -> str:
    return values[int(rng.integers(len(values)))]


def augment_caption(write: Callable[[], str], rng: np.random.Generator, dropout: float, nonsense: float) -> str:
    """A caption, sometimes none, sometimes with a word that means nothing (as a trigger does before it is learned)."""
    if rng.random() < dropout:
        return ""
    text = write()
    if rng.random() < nonsense:
        word = _nonsense(rng)
        return f"{word} {text}" if rng.random() < 0.6 else f"{text}, {word}"
    return text


def _nonsense(rng: np.random.Generator) -> str:
    """Random letters, or common words that say nothing about this image, alone or joined by `_`."""
    if rng.random() < 0.4:
        return "".join(rng.choice(list(string.ascii_lowercase + "_"), int(rng.integers(3, 18))))
    joint = "_" if rng.random() < 0.5 else ("" if rng.random() < 0.5 else " ")
    return joint.join(rng.choice(PROSE, int(rng.integers(1, 5))))


def attribute_prompt(name: str, value: str) -> str:
    """Zero-shot text for one value of a classifiable attribute."""
    if name in {"hair_color", "hair_length"}:
        return f"a face with {value} hair"
    if name == "eye_color":
        return f"a face with {value} eyes"
    if name == "background":
        return f"a face, {value} background"
    if name == "gender":
        return f"a {value}"
    return f"a face with {value}" if name == "glasses" else f"a {value} face"


def domain_prompt(domain: str) -> str:
    """Zero-shot text for one domain."""
    return DOMAIN_WORDS[domain][0]
