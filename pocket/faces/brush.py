"""SVG in small pieces: colours, paths from points, elements, and one rendering's shared definitions."""

import colorsys
import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from pocket.faces.character import CLOTHES, EYE_COLORS, HAIR_COLORS, SKINS, Character
from pocket.faces.styles import Style

Point = tuple[float, float]


def rgb(color: str) -> tuple[float, float, float]:
    """`#rrggbb` as three numbers in 0..1."""
    return (int(color[1:3], 16) / 255, int(color[3:5], 16) / 255, int(color[5:7], 16) / 255)


def hexed(red: float, green: float, blue: float) -> str:
    """Three numbers in 0..1 as `#rrggbb`."""
    return "#" + "".join(f"{round(255 * min(1, max(0, value))):02x}" for value in (red, green, blue))


def mix(first: str, second: str, share: float) -> str:
    """`share` of `second` in `first`."""
    return hexed(*(a + (b - a) * share for a, b in zip(rgb(first), rgb(second), strict=True)))


def tone(color: str, lightness: float = 0.0, saturation: float = 1.0) -> str:
    """Shift the lightness (HLS, 0..1) by `lightness` and scale the saturation."""
    hue, light, chroma = colorsys.rgb_to_hls(*rgb(color))
    return hexed(*colorsys.hls_to_rgb(hue, min(1, max(0, light + lightness)), min(1, chroma * saturation)))


def polygon(points: Sequence[Point]) -> str:
    """Straight closed path through `points`."""
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points) + "Z"


def smooth(points: Sequence[Point], closed: bool = True, tension: float = 1.0) -> str:
    """Catmull-Rom spline through `points` as Bézier segments; `tension` 0 gives straight lines."""
    count = len(points)
    steps = count if closed else count - 1
    path = [f"M{points[0][0]:.1f} {points[0][1]:.1f}"]
    for index in range(steps):
        before, here, there, after = (
            points[(index + shift) % count] if closed else points[min(max(index + shift, 0), count - 1)]
            for shift in (-1, 0, 1, 2)
        )
        first = [here[axis] + tension * (there[axis] - before[axis]) / 6 for axis in (0, 1)]
        second = [there[axis] - tension * (after[axis] - here[axis]) / 6 for axis in (0, 1)]
        path.append(f"C{first[0]:.1f} {first[1]:.1f} {second[0]:.1f} {second[1]:.1f} {there[0]:.1f} {there[1]:.1f}")
    return "".join(path) + ("Z" if closed else "")


def element(name: str, **attributes: object) -> str:
    """One empty SVG element; underscores in names become hyphens."""
    text = "".join(f' {key.replace("_", "-")}="{value}"' for key, value in attributes.items() if value is not None)
    return f"<{name}{text}/>"


def group(content: str, **attributes: object) -> str:
    """SVG elements in a group."""
    return element("g", **attributes)[:-2] + f">{content}</g>"


@dataclass
class Brush:
    """Colours and lines of one rendering; collects definitions (gradients, clips) as parts ask for them."""

    character: Character
    style: Style
    defs: list[str] = field(default_factory=list)

    def color(self, color: str) -> str:
        """`color` as this domain shows it."""
        shifted = tone(color, self.style.lightness, self.style.saturation)
        return mix(shifted, "#f2b060", self.style.warmth)

    @property
    def skin(self) -> str:
        """Skin colour."""
        return self.color(SKINS[self.character.skin])

    @property
    def skin_shadow(self) -> str:
        """Skin in shadow."""
        return mix(self.skin, "#a04848" if self.style.shading != "soft" else "#8a4a30", 0.3)

    @property
    def hair(self) -> str:
        """Hair colour, a little lighter or darker from one character to the next."""
        return self.color(tone(HAIR_COLORS[self.character.hair_color], 0.025 * self.character.shade))

    @property
    def hair_dark(self) -> str:
        """Hair in shadow."""
        return mix(tone(self.hair, -0.12), "#241a3a", 0.12)

    @property
    def hair_light(self) -> str:
        """Hair in the light."""
        return mix(self.hair, "#ffffff", 0.45)

    @property
    def iris(self) -> str:
        """Eye colour."""
        return self.color(EYE_COLORS[self.character.eye_color])

    @property
    def cloth(self) -> str:
        """Colour of the clothes."""
        return self.color(CLOTHES[self.character.clothes])

    def outline(self, around: str, width: float = 1.0) -> dict[str, object]:
        """Stroke attributes of the outline of a shape of colour `around`."""
        if self.style.line == 0:
            return {}
        ink = mix(tone(around, -0.3), self.style.ink, self.style.ink_share)
        return {
            "stroke": ink,
            "stroke_width": round(self.style.line * width, 2),
            "stroke_linejoin": "round",
            "stroke_linecap": "round",
        }

    def fill(self, color: str) -> dict[str, object]:
        """Fill attributes: a wash in a sketch, solid elsewhere."""
        return {"fill": mix(color, "#fbf8f0", 0.42) if self.style.shading == "hatch" else color}

    def shape(self, path: str, color: str, width: float = 1.0, **more: object) -> str:
        """A filled and outlined path."""
        return element("path", d=path, **self.fill(color), **self.outline(color, width), **more)

    def stroke(self, path: str, color: str, width: float, **more: object) -> str:
        """An open line with round ends."""
        return element(
            "path", d=path, fill="none", stroke=color, stroke_width=round(width, 2), stroke_linecap="round", **more
        )

    def vertical(self, name: str, top: str, bottom: str) -> str:
        """Define a gradient from `top` to `bottom` of a shape; returns the fill."""
        stops = f'<stop offset="0" stop-color="{top}"/><stop offset="1" stop-color="{bottom}"/>'
        self.defs.append(f'<linearGradient id="{name}" x1="0" y1="0" x2="0" y2="1">{stops}</linearGradient>')
        return f"url(#{name})"

    def clip(self, name: str, path: str) -> str:
        """Define a clip by `path`; returns the reference."""
        self.defs.append(f'<clipPath id="{name}"><path d="{path}"/></clipPath>')
        return f"url(#{name})"

    def glow(self, color: str, cx: float, cy: float, rx: float, ry: float, *, opacity: float) -> str:
        """An ellipse that fades from `opacity` in its middle to nothing at its rim."""
        name = "glow" + color[1:]
        stops = f'<stop offset="0.25" stop-color="{color}"/><stop offset="1" stop-color="{color}" stop-opacity="0"/>'
        self.defs.append(f'<radialGradient id="{name}">{stops}</radialGradient>')
        return element("ellipse", cx=round(cx, 1), cy=round(cy, 1), rx=rx, ry=ry, fill=f"url(#{name})", opacity=opacity)

    def soft(self, path: str, color: str, opacity: float) -> str:
        """A path with a soft edge some 16 units wide, by layers (a blur filter takes three times the whole image)."""
        layers = "".join(element("path", d=path, stroke_width=width) for width in (0, 6, 12, 18, 24))
        return group(
            layers,
            fill=color,
            stroke=color,
            stroke_linejoin="round",
            fill_opacity=opacity / 4,
            stroke_opacity=opacity / 5,
        )


def wave(position: float, turns: float, phase: float = 0.0) -> float:
    """A sine of `turns` full turns over positions 0..1."""
    return math.sin(2 * math.pi * (position * turns + phase))
