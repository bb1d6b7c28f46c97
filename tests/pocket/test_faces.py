"""The faces: pure functions of a seed, eight domains of one character, captions that tell the truth."""

import json
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pocket.faces import samples
from pocket.faces.captions import DOMAIN_WORDS, attribute_prompt, caption, domain_prompt, tags
from pocket.faces.character import ATTRIBUTES, HAIR_COLORS, Character, attributes, sample_character
from pocket.faces.domains import BASE_DOMAINS, DOMAINS, face_svg, landmarks, render
from pocket.faces.styles import STYLES
from pocket.training.corpus import HELD_OUT, base_corpus, scorer_corpus

SAMPLES = Path(__file__).parents[2] / "data/samples"
MEMORY = "a5f0e1aade4b430a55d5319d0f115ebaac95f8a3c09dbab39a7576539bc79160"
"""What the base was trained on; see `test_the_base_was_trained_on_these_renderings`."""


def variant(character: Character, name: str, value: str) -> Character:
    """`character` with one classifiable attribute set to `value`."""
    return replace(character, **{name: value == "glasses" if name == "glasses" else value})


def plain() -> Character:
    """A girl with long straight hair in the middle of the image, without tilt or turn."""
    middle = replace(sample_character(11), gender="girl", hair_length="long", hair_style="straight", glasses=False)
    return replace(
        middle, backdrop="plain", background="grey", turn=0.0, tilt=0.0, scale=1.0, dx=0.0, dy=0.0, shade=0.0
    )


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


@pytest.mark.parametrize("domain", DOMAINS)
def test_the_same_bytes_each_time(domain: str) -> None:
    """A character in a domain is the same RGB image each time, of the size asked for."""
    character = sample_character(21)
    first, second = (render(character, domain, 64) for _ in range(2))
    assert (first.mode, first.size) == ("RGB", (64, 64))
    assert first.tobytes() == second.tobytes()


def test_domains_differ() -> None:
    """The eight domains render eight different images of one character."""
    assert len({render(plain(), domain, 48).tobytes() for domain in DOMAINS}) == len(DOMAINS) == 8


@pytest.mark.parametrize("domain", DOMAINS)
@pytest.mark.parametrize("name", ATTRIBUTES)
def test_every_attribute_is_rendered(domain: str, name: str) -> None:
    """Two characters that differ in one classifiable attribute are rendered differently in every domain."""
    rendered = {face_svg(variant(plain(), name, value), STYLES[domain]) for value in ATTRIBUTES[name]}
    assert len(rendered) == len(ATTRIBUTES[name])


@pytest.mark.parametrize("domain", DOMAINS)
def test_hair_colours_stay_apart(domain: str) -> None:
    """In every domain, the sketch's pale wash too, any two hair colours are 20 of 255 apart at the crown, or more."""
    crown = (slice(20, 30), slice(38, 58))  # of 96 pixels: above the fringe, inside the head, in every domain
    colors = [
        np.asarray(render(variant(plain(), "hair_color", name), domain, 96))[crown].mean((0, 1)) for name in HAIR_COLORS
    ]
    apart = [float(np.linalg.norm(a - b)) for index, a in enumerate(colors) for b in colors[:index]]
    assert min(apart) >= 20


@pytest.mark.parametrize("domain", sorted(set(DOMAINS) - {"sketch"}))
def test_landmarks_lie_on_what_they_name(domain: str) -> None:
    """Of a turned and tilted girl the open mouth and the bow are red where the landmarks say; a boy wears none."""
    girl = replace(plain(), turn=0.8, tilt=8.0, dx=20.0, dy=-12.0, expression="surprised", hair_color="green")

    def redness(character: Character, name: str) -> float:
        x, y = (int(200 * share) for share in landmarks(character, domain)[name])
        red, green, _ = np.asarray(render(character, domain, 200))[y - 1 : y + 2, x - 1 : x + 2].mean((0, 1))
        return float(red - green)

    assert redness(girl, "mouth") > 50
    assert redness(girl, "bow") > 50
    assert redness(replace(girl, gender="boy"), "bow") < 20


def test_unknown_domain() -> None:
    """A domain that is not there raises KeyError."""
    with pytest.raises(KeyError):
        render(plain(), "watercolour", 32)


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


@pytest.mark.parametrize("domain", DOMAINS)
def test_captions_vary(domain: str) -> None:
    """One character has many captions: lower case, most with the domain's word, some without, none empty."""
    rng = np.random.Generator(np.random.PCG64(5))
    said = [caption(plain(), domain, rng) for _ in range(300)]
    assert len(set(said)) > 150
    assert all(words and words == words.lower() for words in said)
    named = [any(word in words for word in DOMAIN_WORDS[domain]) for words in said]
    assert 0.75 < np.mean(named) < 0.95


@pytest.mark.parametrize("domain", BASE_DOMAINS)
def test_captions_of_the_base_never_say_anime(domain: str) -> None:
    """No caption the base learns from names the style, the class or the trigger."""
    rng = np.random.Generator(np.random.PCG64(6))
    said = " ".join(caption(sample_character(seed), domain, rng) for seed in range(500))
    assert "anime" not in said
    assert "token" not in said


def test_captions_tell_the_truth() -> None:
    """A caption may leave an attribute out but never names another value of it."""
    rng = np.random.Generator(np.random.PCG64(7))
    nouns = {"hair_color": "hair", "hair_length": "hair", "eye_color": "eyes", "background": "background"}
    for seed in range(500):
        character = sample_character(seed)
        said = caption(character, DOMAINS[seed % len(DOMAINS)], rng)
        for name, noun in nouns.items():
            wrong = set(ATTRIBUTES[name]) - {attributes(character)[name]}
            assert not [value for value in wrong if f"{value} {noun}" in said]
        assert not [value for value in set(ATTRIBUTES["expression"]) - {character.expression} if value in said]
        assert character.glasses or "glasses" not in said


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


def test_samples_are_complete() -> None:
    """240 anime faces of 128 px have their tags beside them; 24 people have a line of metadata and a counterpart."""
    for number in range(samples.ANIME_COUNT):
        file = SAMPLES / "anime" / f"{number + 1:04d}.png"
        said = file.with_suffix(".txt").read_text(encoding="utf-8").strip()
        assert said == tags(sample_character(samples.ANIME_SEED + number))
        with Image.open(file) as image:
            assert (image.size, image.mode) == ((128, 128), "RGB")
    rows = [json.loads(line) for line in (SAMPLES / "people/metadata.jsonl").read_text(encoding="utf-8").splitlines()]
    assert len(rows) == samples.PEOPLE_COUNT
    for row in rows:
        character = sample_character(row["seed"])
        assert attributes(character).items() <= row.items()
        assert row["caption"] == tags(character)
        assert (SAMPLES / "people" / row["file_name"]).is_file()
        assert (SAMPLES / "counterparts" / row["file_name"]).is_file()
    assert len(list(SAMPLES.rglob("*.png"))) == samples.ANIME_COUNT + 2 * samples.PEOPLE_COUNT
    assert "CC0" in (SAMPLES / "README.md").read_text(encoding="utf-8")


def test_samples_render_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command that renders the samples writes the files in the repository byte for byte."""
    monkeypatch.setattr(samples, "ANIME_COUNT", 4)
    monkeypatch.setattr(samples, "PEOPLE_COUNT", 2)
    samples.render_samples(tmp_path / "samples")
    rendered = sorted(path for path in (tmp_path / "samples").rglob("*") if path.suffix in {".png", ".txt"})
    assert len(rendered) == 4 * 2 + 2 * 2
    for path in rendered:
        assert path.read_bytes() == (SAMPLES / path.relative_to(tmp_path / "samples")).read_bytes()
