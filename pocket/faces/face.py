"""The head without hair: skull, ears, shadows, brows, eyes, glasses, nose, mouth."""

from pocket.faces.brush import Brush, Point, element, group, mix, smooth, tone
from pocket.faces.eyes import eye
from pocket.faces.hair import half_width

MOUTH = 76.0
"""How far the mouth lies below the middle of the face."""


def head_path(brush: Brush) -> str:
    """Outline of the face from temple to chin."""
    c, style = brush.character, brush.style
    w = half_width(brush)
    point = style.chin
    chin = 112 + 5 * c.jaw - 4 * (1 - point)
    jaw = (0.78 if c.gender == "boy" else 0.6) + 0.03 * c.jaw - 0.2 * point + 0.1 * (1 - point)
    tip = 14 + 14 * (1 - point) + (5 if c.gender == "boy" else 0)
    right = [(w, -20.0), (w * 0.98, 25.0), (w * (jaw + 0.16), 72.0), (w * jaw * 0.78, 95.0), (tip, chin)]
    return smooth(
        [(0.0, -126.0), (w * 0.72, -96.0), *right, *((-x, y) for x, y in reversed(right)), (-w * 0.72, -96.0)]
    )


def head(brush: Brush) -> str:
    """The face around (0, 0): half width about 94, chin at about 112."""
    path = head_path(brush)
    ears = "".join(
        brush.shape(
            smooth(
                [
                    (s * (half_width(brush) - 6), -8),
                    (s * (half_width(brush) + 13), -12),
                    (s * (half_width(brush) + 12), 18),
                    (s * (half_width(brush) - 8), 34),
                ]
            ),
            brush.skin,
        )
        for s in (-1, 1)
    )
    if brush.style.shading == "soft":
        center = mix(brush.skin, "#ffffff", 0.22)
        edge = mix(brush.skin, brush.skin_shadow, 0.62)
        inner = f'<stop offset="0" stop-color="{center}"/><stop offset="0.6" stop-color="{brush.skin}"/>'
        stops = f'{inner}<stop offset="1" stop-color="{edge}"/>'
        brush.defs.append(f'<radialGradient id="skin" cx="0.44" cy="0.46" r="0.62">{stops}</radialGradient>')
        skull = element("path", d=path, fill="url(#skin)", **brush.outline(brush.skin))
    else:
        skull = brush.shape(path, brush.skin)
    clip = brush.clip("head", path)
    return (
        ears
        + skull
        + group(_shadows(brush), clip_path=clip)
        + group(_features(brush), transform=f"translate({17 * brush.character.turn:.1f} 0)")
    )


def _shadows(brush: Brush) -> str:
    c, style = brush.character, brush.style
    w = half_width(brush)
    under_hair = smooth(
        [
            (-w - 20, -130),
            (w + 20, -130),
            (w + 14, 20),
            (w - 16, -6),
            (40, -20),
            (0, -12),
            (-40, -22),
            (-w + 16, -4),
            (-w - 14, 20),
        ]
    )
    blush = ""
    if c.gender == "girl" or style.eye in {"anime", "oval"}:
        strength = {"anime": 0.5, "oval": 0.55, "glossy": 0.5}.get(style.eye, 0.22)
        radius = 17 if style.eye in {"anime", "oval"} else 22
        blush = "".join(
            brush.glow("#ee6f6f", s * 58 + 17 * c.turn, 58, radius * 1.5, radius, opacity=strength) for s in (-1, 1)
        )
    if style.shading == "flat":
        return blush
    if style.shading == "hatch":
        lines = "".join(f'<path d="M{x} 130L{x + 60} 10"/>' for x in range(20, 120, 9))
        return group(lines, stroke="#6a686e", stroke_width=1.4, opacity=0.45)
    if style.shading == "cel":
        side = 1 if c.turn <= 0 else -1
        cheek = smooth(
            [(side * (w + 8), -40), (side * (w * 0.84), 30), (side * w * 0.52, 84), (side * 10, 124), (side * 120, 130)]
        )
        return (
            element("path", d=under_hair, fill=brush.skin_shadow, opacity=0.6)
            + element("path", d=cheek, fill=brush.skin_shadow, opacity=0.55)
            + blush
        )
    rim = smooth([(-w, 30), (-w * 0.6, 96), (0, 122), (w * 0.6, 96), (w, 30), (w + 30, 140), (-w - 30, 140)])
    jawline = brush.soft(rim, brush.skin_shadow, 0.55)
    hairline = brush.soft(under_hair, brush.skin_shadow, 0.5)
    sockets = "".join(brush.glow(brush.skin_shadow, s * 42 + 17 * c.turn, 0, 38, 22, opacity=0.45) for s in (-1, 1))
    return hairline + jawline + sockets + blush


def landmarks(brush: Brush) -> dict[str, Point]:
    """The middles of eyes and mouth, in the head's own units."""
    shift, gap = 17 * brush.character.turn, _eye_gap(brush)
    eyes = {name: (side * gap + shift, brush.style.eye_y) for name, side in (("left eye", -1), ("right eye", 1))}
    return {**eyes, "mouth": (shift, MOUTH)}


def _eye_gap(brush: Brush) -> float:
    """From the middle of the face to the middle of an eye."""
    return 42 + 3 * brush.character.eye_gap + (3 if brush.style.eye_height > 20 else 0)


def _features(brush: Brush) -> str:
    c, style = brush.character, brush.style
    gap = _eye_gap(brush)
    wide = {"surprised": 1.25, "smiling": 0.94, "sad": 0.8}.get(c.expression, 1.0)
    shapes = []
    for side in (-1.0, 1.0):
        squeeze = 1 - 0.13 * side * c.turn
        shape = eye(
            brush,
            side,
            style.eye_width * squeeze * (1 if c.gender == "girl" else 0.95),
            style.eye_height * wide * (1 if c.gender == "girl" else 0.88),
        )
        shapes.append(group(shape, transform=f"translate({side * gap:.1f} {style.eye_y})"))
        shapes.append(_brow(brush, side, gap))
    frame = _glasses(brush, gap) if c.glasses else ""
    return "".join(shapes) + frame + _nose(brush) + _mouth(brush)


def _brow(brush: Brush, side: float, gap: float) -> str:
    c, style = brush.character, brush.style
    height = style.eye_y - style.eye_height * 1.05 - 17 + 2 * c.brow - (15 if c.expression == "surprised" else 0)
    tilt = {"sad": -18.0, "surprised": -1.0, "smiling": -2.0}.get(c.expression, 3.0)
    inner, outer, half = side * (gap - 21), side * (gap + 23), style.eye_width * 0.02
    thick = (9.5 if c.gender == "boy" else 4.2) * (0.8 if style.eye in {"anime", "glossy"} else 1.0) + half
    middle = height - (9 if c.expression == "surprised" else 6)
    color = (
        mix(brush.hair_dark, "#2a1d1a", 0.4)
        if c.hair_color not in {"white", "blonde"}
        else mix(brush.hair_dark, "#5a4630", 0.55)
    )
    path = f"M{inner:.1f} {height + tilt:.1f}Q{side * gap:.1f} {middle:.1f} {outer:.1f} {height - tilt * 0.6 + 2:.1f}"
    return brush.stroke(path, color, thick, opacity=0.9)


def _nose(brush: Brush) -> str:
    kind, shift = brush.style.nose, 4 * brush.character.turn
    if kind == "soft":
        return (
            brush.glow(brush.skin_shadow, 7 + shift, 34, 12, 26, opacity=0.55)
            + brush.glow(brush.skin_shadow, shift, 48, 20, 10, opacity=0.8)
            + brush.glow("#ffffff", shift - 3, 38, 9, 15, opacity=0.4)
        )
    ink = str(brush.outline(brush.skin).get("stroke", brush.skin_shadow))
    if kind == "line":
        return brush.stroke(
            f"M{2 + shift:.1f} 26L{9 + shift:.1f} 47L{-3 + shift:.1f} 50", ink, max(2.0, brush.style.line * 0.7)
        )
    if kind == "dot":
        return brush.stroke(f"M{shift:.1f} 46L{3 + shift:.1f} 49.5", ink, 3)
    return ""


def _mouth(brush: Brush) -> str:
    c, style = brush.character, brush.style
    photo = style.shading == "soft" and style.line == 0
    ink = mix(brush.skin_shadow, "#8a2b35", 0.6) if photo else str(brush.outline(brush.skin).get("stroke", "#402020"))
    width = 4.2 if photo else max(3.0, style.line * 0.95)
    girl = c.gender == "girl"
    wide = 40.0 if style.eye in {"almond", "button"} else 34.0
    y = MOUTH
    lips = mix(brush.skin, "#c4414f", 0.7 if girl else 0.25)
    if c.expression == "smiling":
        upper = f"M{-wide} {y - 8}Q0 {y + 4} {wide} {y - 8}"
        path = f"{upper}Q{wide * 0.55:.1f} {y + 24} 0 {y + 24}Q{-wide * 0.55:.1f} {y + 24} {-wide} {y - 8}Z"
        teeth = element(
            "path",
            d=f"M{-wide * 0.8:.1f} {y - 4}Q0 {y + 5} {wide * 0.8:.1f} {y - 4}"
            f"L{wide * 0.62:.1f} {y + 4}Q0 {y + 12} {-wide * 0.62:.1f} {y + 4}Z",
            fill="#ffffff",
        )
        return (
            element(
                "path",
                d=path,
                fill="#a93a46",
                stroke=lips if photo else ink,
                stroke_width=width,
                stroke_linejoin="round",
            )
            + teeth
        )
    if c.expression == "surprised":
        return element(
            "ellipse", cx=0, cy=y + 4, rx=15, ry=19, fill="#8c2f3b", stroke=lips if photo else ink, stroke_width=width
        )
    bend = -34.0 if c.expression == "sad" else 2.0
    base = y + (14 if c.expression == "sad" else 2)
    line = brush.stroke(f"M{-wide * 0.72:.1f} {base}Q0 {base + bend} {wide * 0.72:.1f} {base}", ink, width)
    if not (photo or girl):
        return line
    curve = f"M{-wide * 0.6:.1f} {base + 1}Q0 {base + bend + 2} {wide * 0.6:.1f} {base + 1}"
    return brush.stroke(curve, lips, 11 if girl else 9, opacity=0.8) + line


def _glasses(brush: Brush, gap: float) -> str:
    y, color = brush.style.eye_y, tone("#2b2b33", 0.0)
    a, b = max(32.0, brush.style.eye_width + 7), max(25.0, brush.style.eye_height + 5)
    rims = "".join(
        element(
            "rect",
            x=round(s * gap - a, 1),
            y=round(y - b, 1),
            width=2 * a,
            height=2 * b,
            rx=b * 0.75,
            fill="#ffffff",
            fill_opacity=0.14,
            stroke=color,
            stroke_width=5,
        )
        for s in (-1, 1)
    )
    bridge = brush.stroke(f"M{-gap + a:.1f} {y - 4}Q0 {y - 12} {gap - a:.1f} {y - 4}", color, 5)
    arms = "".join(brush.stroke(f"M{s * (gap + a):.1f} {y - 6}L{s * 96} {y - 12}", color, 5) for s in (-1, 1))
    return rims + bridge + arms
