"""Every domain renders every attribute, the same pixels each time, in the colours that it should."""

from dataclasses import replace

import numpy as np
import pytest

from pocket.faces.character import ATTRIBUTES, HAIR_COLORS, Character, sample_character
from pocket.faces.domains import DOMAINS, face_svg, landmarks, render
from pocket.faces.styles import STYLES
from tests.pocket.faces.characters import plain, variant


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
