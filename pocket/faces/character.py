"""A character: the attributes that every domain renders and every caption may name."""

from dataclasses import dataclass

import numpy as np

HAIR_COLORS = {
    "black": "#2b2730", "brown": "#7a4a28", "blonde": "#efce63", "red": "#d0342b", "blue": "#2f62cf",
    "green": "#3f9f4c", "pink": "#f28ab4", "purple": "#7d3fae", "white": "#eceaf2",
}  # fmt: skip
EYE_COLORS = {"blue": "#3c86e0", "green": "#3da65a", "brown": "#7b4a23", "red": "#cf3340", "purple": "#8a4cc4"}
SKINS = {"pale": "#fbe3d3", "fair": "#f6d3b8", "tan": "#dfab80", "brown": "#b57b50", "dark": "#85543a"}
BACKGROUNDS = {
    "white": "#f7f7f5", "grey": "#a9adb3", "blue": "#8fc1ee", "green": "#a5d6a0",
    "pink": "#f6bdd0", "yellow": "#f6e08c", "orange": "#f2b27a", "purple": "#c3a9e2",
}  # fmt: skip
CLOTHES = {
    "navy": "#2c3f6b",
    "white": "#f0f0ee",
    "red": "#b83a3a",
    "teal": "#2f8d89",
    "black": "#34343b",
    "mustard": "#d3a53a",
}
EXPRESSIONS = ("smiling", "neutral", "sad", "surprised")
GENDERS = ("girl", "boy")
LENGTHS = ("short", "medium", "long")
HAIR_STYLES = {
    ("girl", "short"): ("bob", "straight", "wavy"), ("girl", "medium"): ("straight", "wavy", "twin tails"),
    ("girl", "long"): ("straight", "wavy", "twin tails", "ponytail"), ("boy", "short"): ("straight", "spiky", "wavy"),
    ("boy", "medium"): ("straight", "wavy", "spiky"), ("boy", "long"): ("straight", "ponytail"),
}  # fmt: skip

ATTRIBUTES: dict[str, tuple[str, ...]] = {
    "gender": GENDERS,
    "hair_color": tuple(HAIR_COLORS),
    "hair_length": LENGTHS,
    "eye_color": tuple(EYE_COLORS),
    "expression": EXPRESSIONS,
    "glasses": ("glasses", "no glasses"),
    "background": tuple(BACKGROUNDS),
}
"""The attributes a classifier can tell, with their values."""


@dataclass(frozen=True)
class Character:
    """One person. Lengths in units of a 512-wide rendering, angles in degrees; shape values lie in -1..1."""

    gender: str
    hair_color: str
    hair_length: str
    hair_style: str
    eye_color: str
    expression: str
    glasses: bool
    skin: str
    background: str
    backdrop: str
    clothes: str
    neckline: str
    turn: float
    tilt: float
    scale: float
    dx: float
    dy: float
    width: float
    jaw: float
    eye_gap: float
    brow: float
    volume: float
    shade: float
    parting: float
    fringe: tuple[float, ...]


def sample_character(seed: int) -> Character:
    """The character of `seed`: a pure function, the same everywhere."""
    rng = np.random.Generator(np.random.PCG64(seed))

    def pick(values: "tuple[str, ...] | dict[str, str]", weights: tuple[float, ...] | None = None) -> str:
        names = tuple(values)
        shares = None if weights is None else np.array(weights) / sum(weights)
        return names[int(rng.choice(len(names), p=shares))]

    def around(width: float) -> float:
        return round(float(rng.uniform(-width, width)), 4)

    gender = pick(GENDERS)
    length = pick(LENGTHS, (2, 3, 4) if gender == "girl" else (6, 2, 1))
    return Character(
        gender=gender,
        hair_color=pick(HAIR_COLORS),
        hair_length=length,
        hair_style=pick(HAIR_STYLES[gender, length]),
        eye_color=pick(EYE_COLORS),
        expression=pick(EXPRESSIONS, (4, 3, 2, 2)),
        glasses=bool(rng.random() < 0.25),
        skin=pick(SKINS, (3, 4, 2, 1, 1)),
        background=pick(BACKGROUNDS),
        backdrop=pick(("plain", "gradient", "dots", "stripes"), (4, 3, 1, 1)),
        clothes=pick(CLOTHES),
        neckline=pick(("round", "collar", "v")),
        turn=around(1),
        tilt=around(9),
        scale=round(float(rng.uniform(0.92, 1.12)), 4),
        dx=around(22),
        dy=around(14),
        width=around(1),
        jaw=around(1),
        eye_gap=around(1),
        brow=around(1),
        volume=around(1),
        shade=around(1),
        parting=around(1),
        fringe=tuple(around(1) for _ in range(8)),
    )


def attributes(character: Character) -> dict[str, str]:
    """The classifiable attributes of `character`, by the names of `ATTRIBUTES`."""
    values = {name: str(getattr(character, name)) for name in ATTRIBUTES}
    return values | {"glasses": "glasses" if character.glasses else "no glasses"}
