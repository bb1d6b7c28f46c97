"""What makes a domain: line, shading, eyes, proportions, palette and surface."""

from dataclasses import dataclass
from typing import Literal

import numpy as np


@dataclass(frozen=True)
class Style:
    """How one domain renders. Lengths in units of a 512-wide rendering."""

    line: float
    """Outline width; 0: none."""
    ink: str
    """Outline colour; mixed into the colour of what it surrounds by `ink_share`."""
    ink_share: float
    shading: Literal["soft", "cel", "flat", "hatch"]
    eye: Literal["almond", "button", "oval", "round", "angular", "glossy", "anime"]
    eye_width: float
    eye_height: float
    eye_y: float
    head: float
    """Scale of the head against the body."""
    chin: float
    """0: round, 1: pointed."""
    nose: Literal["soft", "line", "none", "dot"]
    saturation: float = 1.0
    lightness: float = 0.0
    warmth: float = 0.0
    surface: Literal["none", "paper", "scanlines", "wash", "lens"] = "none"
    hair_shine: Literal["none", "soft", "ring", "streak"] = "none"


STYLES: dict[str, Style] = {
    "photo": Style(
        0,
        "#000000",
        0,
        "soft",
        "almond",
        19,
        9.5,
        10,
        1.0,
        0.25,
        "soft",
        0.86,
        -0.01,
        surface="lens",
        hair_shine="soft",
    ),
    "flat": Style(4.2, "#1d1b22", 0.95, "flat", "button", 14, 17, 12, 1.03, 0.1, "line"),
    "sketch": Style(2.4, "#4b4a50", 1.0, "hatch", "almond", 20, 12, 12, 1.0, 0.3, "line", 0.75, 0.1, surface="paper"),
    "chibi": Style(6.0, "#2a1f26", 0.9, "flat", "oval", 19, 28, 26, 1.2, 0.0, "none", 1.05, 0.03),
    "painterly": Style(
        2.4,
        "#5b3a24",
        0.8,
        "soft",
        "round",
        16,
        16,
        14,
        1.03,
        0.2,
        "dot",
        0.9,
        0.02,
        0.14,
        surface="wash",
        hair_shine="streak",
    ),
    "retro90s": Style(
        3.4, "#14101c", 1.0, "cel", "angular", 20, 27, 10, 1.0, 0.8, "line", 1.3, -0.03, surface="scanlines"
    ),
    "doll": Style(0, "#000000", 0, "soft", "glossy", 26, 27, 18, 1.08, 0.35, "soft", 1.0, 0.02, hair_shine="soft"),
    "anime": Style(3.0, "#2a1830", 0.78, "cel", "anime", 28, 35, 17, 1.06, 0.85, "dot", 1.08, 0.03, hair_shine="ring"),
}

DOMAINS = tuple(STYLES)
BASE_DOMAINS = tuple(name for name in DOMAINS if name != "anime")
"""What the pocket base is trained on: the style to be learned is not among them."""


def sample_style(rng: np.random.Generator) -> Style:
    """A style that mixes the manners of the base's domains at random, its eyes never those of the held-out style."""
    shading = str(rng.choice(["soft", "cel", "flat", "hatch"]))
    eye = str(rng.choice(["almond", "button", "oval", "round", "angular", "glossy"]))
    # Tall eyes that are cel-shaded, angular or glossy would come close to anime, which is held out.
    tallest = 17 if shading == "cel" or eye in {"angular", "glossy"} else 23
    inks = ["#1d1b22", "#4b4a50", "#2a1f26", "#5b3a24", "#14101c", "#20304a"]
    return Style(
        line=float(rng.uniform(1, 6)) if rng.random() < 0.85 or eye in {"button", "oval"} else 0.0,
        ink=str(rng.choice(inks)),
        ink_share=float(rng.uniform(0.3, 1)),
        shading=shading,  # type: ignore[arg-type]
        eye=eye,  # type: ignore[arg-type]
        eye_width=float(rng.uniform(13, 22)),
        eye_height=float(rng.uniform(9, tallest)),
        eye_y=float(rng.uniform(9, 22)),
        head=float(rng.uniform(0.96, 1.14)),
        chin=float(rng.uniform(0, 0.6)),
        nose=str(rng.choice(["soft", "line", "none", "dot"])),  # type: ignore[arg-type]
        saturation=float(rng.uniform(0.55, 1.25)),
        lightness=float(rng.uniform(-0.04, 0.08)),
        warmth=float(rng.uniform(0, 0.12)),
        surface=str(rng.choice(["none", "none", "paper", "scanlines", "wash"])),  # type: ignore[arg-type]
        hair_shine=str(rng.choice(["none", "soft", "streak"])),  # type: ignore[arg-type]
    )
