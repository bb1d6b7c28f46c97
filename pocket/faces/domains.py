"""A character rendered as SVG in one of eight domains or in any style; resvg's pixels are the same everywhere."""

import io
import math

import resvg_py
from PIL import Image

from pocket.faces import face, hair
from pocket.faces.brush import Brush, Point, element, group, mix, smooth, tone
from pocket.faces.character import BACKGROUNDS, Character
from pocket.faces.styles import BASE_DOMAINS, DOMAINS, STYLES, Style

__all__ = ["BASE_DOMAINS", "DOMAINS", "face_svg", "landmarks", "rasterise", "render"]

SIDE = 512
"""Width and height of the rendering's own units."""


def render(character: Character, domain: str, size: int) -> Image.Image:
    """`character` as `domain` shows it: an RGB image of `size` × `size` pixels, same bytes for same arguments.

    Raises:
        KeyError: no such domain.
    """
    return rasterise(face_svg(character, STYLES[domain]), size)


def rasterise(svg: str, size: int) -> Image.Image:
    """An SVG document as an RGB image of `size` × `size` pixels."""
    png = resvg_py.svg_to_bytes(svg_string=svg, width=size, height=size, skip_system_fonts=True)
    with Image.open(io.BytesIO(bytes(png))) as image:
        return image.convert("RGB")


def face_svg(character: Character, style: Style) -> str:
    """`character` in `style`, as an SVG document of 512 × 512 units."""
    brush = Brush(character, style)
    body, backdrop = _figure(brush), _backdrop(brush)
    defs = "".join(dict.fromkeys(brush.defs))
    start = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {SIDE} {SIDE}">'
    return f"{start}<defs>{defs}</defs>{backdrop}{body}{_surface(brush)}</svg>"


def landmarks(character: Character, domain: str) -> dict[str, Point]:
    """Where eyes, mouth, a girl's bow and the crown lie in `render`'s image; x and y in 0..1 of its sides."""
    brush = Brush(character, STYLES[domain])
    x, y, scale = _pose(brush)
    angle = math.radians(character.tilt)
    places = face.landmarks(brush) | hair.landmarks(brush)
    return {
        name: (
            (x + scale * (u * math.cos(angle) - v * math.sin(angle))) / SIDE,
            (y + scale * (u * math.sin(angle) + v * math.cos(angle))) / SIDE,
        )
        for name, (u, v) in places.items()
    }


def _pose(brush: Brush) -> tuple[float, float, float]:
    """Centre of the head, and the scale of its own units."""
    c = brush.character
    return 256 + c.dx, 258 + c.dy, c.scale * brush.style.head * 1.34


def _figure(brush: Brush) -> str:
    c, style = brush.character, brush.style
    x, y, scale = _pose(brush)
    place = f"translate({x:.1f} {y:.1f}) rotate({c.tilt:.2f}) scale({scale:.3f})"
    wide = c.scale * (1.0 if style.head > 1.15 else 1.22)
    shoulders = f"translate({256 + c.dx * 0.8:.1f} {y + 112 * scale:.1f}) scale({wide:.3f})"
    return (
        group(hair.back(brush), transform=place)
        + group(_body(brush), transform=shoulders)
        + group(face.head(brush) + hair.front(brush) + hair.bow(brush), transform=place)
    )


def _body(brush: Brush) -> str:
    """Neck and shoulders; (0, 0) is the chin."""
    c, style = brush.character, brush.style
    broad = 182 if c.gender == "boy" else 130
    neck = 46 if c.gender == "boy" else 29
    skin = smooth(
        [(-neck, -40), (neck, -40), (neck + 1, 40), (neck + 26, 62), (0, 96), (-neck - 26, 62), (-neck - 1, 40)],
        tension=0.7,
    )
    cloth = smooth(
        [
            (-neck - 20, 42),
            (-broad * 0.7, 66),
            (-broad, 104),
            (-broad - 26, 260),
            (broad + 26, 260),
            (broad, 104),
            (broad * 0.7, 66),
            (neck + 20, 42),
            (0, 60 if c.neckline == "round" else 96),
        ],
        tension=0.8,
    )
    fill = brush.vertical("cloth", brush.cloth, tone(brush.cloth, -0.12)) if style.shading == "soft" else None
    dress = (
        element("path", d=cloth, fill=fill, **brush.outline(brush.cloth)) if fill else brush.shape(cloth, brush.cloth)
    )
    trim = mix(brush.cloth, "#ffffff", 0.65)
    collar = ""
    if c.neckline == "collar":
        collar = "".join(
            brush.shape(
                smooth([(s * (neck + 16), 40), (s * (neck + 34), 56), (s * 40, 112), (0, 92)], tension=0.3), trim
            )
            for s in (-1, 1)
        )
    shadow = smooth([(-neck, -10), (neck, -10), (neck + 1, 28), (0, 48), (-neck - 1, 28)], tension=0.7)
    under = element("path", d=shadow, fill=brush.skin_shadow, opacity=0.75) if style.shading == "cel" else ""
    if style.shading == "soft":
        under = group(brush.soft(shadow, brush.skin_shadow, 0.7), clip_path=brush.clip("neck", skin))
    return brush.shape(skin, brush.skin) + under + dress + collar


def _backdrop(brush: Brush) -> str:
    c, style = brush.character, brush.style
    color = brush.color(BACKGROUNDS[c.background])
    if style.surface == "paper":
        return element("rect", width=SIDE, height=SIDE, fill=mix(color, "#f7f3e8", 0.4))
    fill = color
    if c.backdrop == "gradient" or style.surface == "lens":
        fill = brush.vertical("backdrop", mix(color, "#ffffff", 0.25), tone(color, -0.07))
    ground = element("rect", width=SIDE, height=SIDE, fill=fill)
    light = mix(color, "#ffffff", 0.45)
    if style.surface == "wash":
        places = ((70, 90), (440, 150), (60, 400), (470, 420))
        return ground + "".join(brush.glow(light, x, y, 130, 66, opacity=0.8) for x, y in places)
    if c.backdrop == "dots":
        dots = "".join(
            f'<circle cx="{x + (32 if (y // 64) % 2 else 0)}" cy="{y}" r="9"/>'
            for y in range(16, SIDE, 64)
            for x in range(16, SIDE + 32, 64)
        )
        return ground + group(dots, fill=light, opacity=0.8)
    if c.backdrop == "stripes":
        return ground + group(
            "".join(f'<path d="M{x} 0L{x - 120} 512"/>' for x in range(20, SIDE + 150, 66)),
            stroke=light,
            stroke_width=16,
            opacity=0.6,
        )
    return ground


def _surface(brush: Brush) -> str:
    """What lies over everything: paper grain, scan lines, the fall-off of a lens."""
    kind = brush.style.surface
    if kind == "paper":
        lines = "".join(f'<path d="M0 {y}L512 {y - 40}"/>' for y in range(0, SIDE + 60, 14))
        return group(lines, stroke="#8d8779", stroke_width=0.8, opacity=0.25)
    if kind == "scanlines":
        return group(
            "".join(f'<path d="M0 {y}L512 {y}"/>' for y in range(3, SIDE, 8)),
            stroke="#1a1030",
            stroke_width=2.4,
            opacity=0.2,
        )
    if kind == "lens":
        inner = '<stop offset="0.62" stop-color="#000" stop-opacity="0"/>'
        outer = '<stop offset="1" stop-color="#000" stop-opacity="0.2"/>'
        lens = f'<defs><radialGradient id="lens" r="0.75">{inner}{outer}</radialGradient></defs>'
        return f'{lens}<rect width="512" height="512" fill="url(#lens)"/>'
    return ""
