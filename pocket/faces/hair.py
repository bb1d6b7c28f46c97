"""Hair: the mass behind the head, the fringe in front, tails, shine and strands."""

from pocket.faces.brush import Brush, Point, element, group, smooth, tone, wave

REACH = {"short": 26.0, "medium": 128.0, "long": 262.0}
"""How far down hair hangs, from the middle of the face."""


def half_width(brush: Brush) -> float:
    """Half the width of the face at the cheeks."""
    return 94 + 6 * brush.character.width


def _skull(brush: Brush, grow: float) -> list[Point]:
    """The top of the hair from the left ear over the crown to the right ear."""
    w, c = half_width(brush) + grow, brush.character
    top = -136 - grow * 0.6 - 6 * c.volume
    arc = [
        (-w, 5.0),
        (-w - 1, -45.0),
        (-w * 0.86, -95.0),
        (-w * 0.45, top + 9),
        (0.0, top),
        (w * 0.45, top + 9),
        (w * 0.86, -95.0),
        (w + 1, -45.0),
        (w, 5.0),
    ]
    if c.hair_style != "spiky":
        return arc
    spiked: list[Point] = []
    for index, (x, y) in enumerate(arc):
        spiked.append((x, y))
        if index < len(arc) - 1:
            there = arc[index + 1]
            push = 1.2 + 0.05 * c.fringe[index]
            spiked.append(((x + there[0]) / 2 * push, ((y + there[1]) / 2 + 8) * push - 6))
    return spiked


def back(brush: Brush) -> str:
    """The mass of hair behind head and shoulders."""
    c = brush.character
    w = half_width(brush) + 20 + 6 * c.volume
    tied = c.hair_style in {"ponytail", "twin tails"}
    reach = REACH["short" if tied else c.hair_length] + 8 * c.shade
    flare = {"short": -10.0, "medium": 4.0, "long": 16.0}[c.hair_length] if not tied else -14.0
    if c.hair_style == "bob":
        reach, flare = 66.0, 10.0
    wavy = 9.0 if c.hair_style == "wavy" else 1.5
    side = [
        (w + flare * t + wavy * wave(t, reach / 110, c.parting), 5 + (reach - 5) * t) for t in (0.25, 0.5, 0.75, 1.0)
    ]
    left = [(-x, y) for x, y in side]
    locks = 7
    bottom: list[Point] = []
    for index in range(1, locks):
        x = side[-1][0] * (1 - 2 * index / locks)
        drop = (14 if index % 2 else -10) + 8 * c.fringe[index]
        bottom.append((x, reach + drop))
    path = smooth([*_skull(brush, 18), *side, *bottom, *reversed(left)], tension=0.9)
    dark = brush.style.shading in {"cel", "flat"}
    fill = brush.hair_dark if dark else brush.hair
    if brush.style.shading == "soft":
        fill = brush.vertical("hairback", brush.hair, brush.hair_dark)
    parts = [_tails(brush, fill)] if tied else []
    parts.append(
        brush.shape(path, brush.hair)
        if fill.startswith("url") and brush.style.line
        else element("path", d=path, fill=fill)
        if fill.startswith("url")
        else brush.shape(path, fill)
    )
    if brush.style.shading in {"soft", "hatch"}:
        parts.append(_strands(brush, path, "back", reach))
    return "".join(parts)


def _tails(brush: Brush, fill: str) -> str:
    c = brush.character
    reach = REACH[c.hair_length] * 0.92
    w = half_width(brush)
    sides = (-1.0, 1.0) if c.hair_style == "twin tails" else (1.0 if c.parting > 0 else -1.0,)
    shapes = []
    for side in sides:
        top = -70.0 if c.hair_style == "twin tails" else -100.0
        x = side * (w + 20)
        points = [
            (x - side * 22, top - 8),
            (x + side * 30, top - 18),
            (x + side * 62, top + 60),
            (x + side * 52, reach * 0.6),
            (x + side * 30, reach + 10),
            (x + side * 14, reach * 0.65),
            (x + side * 4, top + 60),
        ]
        path = smooth(points)
        shapes.append(
            element("path", d=path, fill=fill, **brush.outline(brush.hair))
            if fill.startswith("url")
            else brush.shape(path, fill)
        )
        shapes.append(
            element(
                "circle", cx=x - side * 4, cy=top + 2, r=13, **brush.fill(brush.cloth), **brush.outline(brush.cloth)
            )
        )
    return "".join(shapes)


def _fringe_path(brush: Brush) -> str:
    """The front hair: crown above, pointed wedges over the forehead, locks beside the face."""
    c = brush.character
    w = half_width(brush)
    girl = c.gender == "girl"
    wedges = 5 if girl else 6
    depth = -26.0 if girl else -34.0
    lock = {"short": 34.0, "medium": 74.0, "long": 96.0}[c.hair_length] if girl else 16.0
    parting = 0.5 + 0.28 * c.parting
    edge: list[Point] = [(w + 9, lock), (w - 7, lock * 0.45), (w - 10, -28.0)]
    for index in range(wedges):
        position = 1 - (index + 0.5) / wedges
        x = (w - 12) * (2 * position - 1)
        swing = 12 * (1 if position > parting else -1)
        tip = depth + 22 * abs(position - parting) + 9 * c.fringe[index]
        edge.append((x + swing, tip))
        if index < wedges - 1:
            edge.append(((w - 12) * (2 * (position - 0.5 / wedges) - 1), depth - 30 + 5 * c.fringe[7 - index]))
    edge += [(-w + 10, -28.0), (-w + 7, lock * 0.45), (-w - 9, lock)]
    crown = [(x, y) for x, y in _skull(brush, 13)]
    sharp = 0.35 if c.hair_style != "wavy" else 0.9
    return smooth(crown, closed=False) + smooth(edge, closed=False, tension=sharp).replace("M", "L", 1) + "Z"


def front(brush: Brush) -> str:
    """The hair over the forehead with its light and shadow."""
    path = _fringe_path(brush)
    style = brush.style
    clip = brush.clip("fringe", path)
    inside = ""
    fill = brush.hair
    if style.shading == "soft":
        fill = brush.vertical("hairfront", brush.hair, brush.hair_dark)
        inside += _strands(brush, path, "front", 60)
    if style.shading == "cel":
        inside += element(
            "path",
            d=smooth([(-120, -50), (-60, -72), (0, -58), (60, -74), (120, -48), (130, 130), (-130, 130)]),
            fill=brush.hair_dark,
            opacity=0.55,
        )
    if style.shading == "hatch":
        inside += _strands(brush, path, "front", 60)
    shine = _shine(brush)
    body = element("path", d=path, fill=fill) if fill.startswith("url") else element("path", d=path, **brush.fill(fill))
    line = element("path", d=path, fill="none", **brush.outline(brush.hair)) if style.line else ""
    return body + group(inside + shine, clip_path=clip) + line + _partings(brush)


def _partings(brush: Brush) -> str:
    """Two or three thin lines that fall from the crown."""
    if brush.style.shading == "soft" and brush.style.line == 0:
        return ""
    c = brush.character
    ink = str(brush.outline(brush.hair).get("stroke", brush.hair_dark))
    lines = []
    for index, share in enumerate((-0.45, 0.05, 0.5)):
        x = 90 * share + 10 * c.parting
        lines.append(
            brush.stroke(
                f"M{x * 0.55:.1f} {-122 + 18 * abs(share):.1f}"
                f"Q{x:.1f} -95 {x * 1.1:.1f} {-66 + 6 * c.fringe[index]:.1f}",
                ink,
                max(1.2, brush.style.line * 0.55),
                opacity=0.8,
            )
        )
    return "".join(lines)


def _shine(brush: Brush) -> str:
    kind = brush.style.hair_shine
    if kind == "ring":
        points = [(-105.0, -62.0), (-70, -84), (-40, -90), (0, -95), (40, -90), (70, -84), (105, -62)]
        low = [(x, y + (24 if index % 2 else 11)) for index, (x, y) in enumerate(points)]
        return element("path", d=smooth([*points, *reversed(low)], tension=0.5), fill=brush.hair_light, opacity=0.85)
    if kind == "soft":
        return brush.glow(brush.hair_light, -28, -92, 72, 30, opacity=0.6)
    if kind == "streak":
        return "".join(
            brush.stroke(f"M{x} -104Q{x - 8} -86 {x - 12} -66", brush.hair_light, 7, opacity=0.45)
            for x in (-46, -20, 44)
        )
    return ""


def _strands(brush: Brush, path: str, name: str, reach: float) -> str:
    """Fine lines that follow the fall of the hair."""
    c, hatch = brush.character, brush.style.shading == "hatch"
    lines = []
    for index in range(26 if not hatch else 34):
        x = -128 + 256 * (index + 0.5 * c.fringe[index % 8]) / (26 if not hatch else 34)
        tint = "#55535a" if hatch else (brush.hair_light if index % 3 else brush.hair_dark)
        lines.append(
            f'<path d="M{x * 0.5:.1f} -140Q{x:.1f} -100 {x * 1.08:.1f} '
            f'{reach * (0.7 + 0.3 * c.fringe[index % 7]):.1f}" stroke="{tint}"/>'
        )
    faint = 0.5 if hatch else (0.1 if brush.style.line else 0.22)
    clip = brush.clip(f"strands{name}", path)
    return group("".join(lines), fill="none", stroke_width=1.6 if hatch else 3, opacity=faint, clip_path=clip)


def landmarks(brush: Brush) -> dict[str, Point]:
    """Where a girl wears her bow, opposite her parting, and the crown, in the head's own units."""
    side = -1 if brush.character.parting > 0 else 1
    return {"bow": (side * 0.62 * half_width(brush), -102.0), "crown": (0.0, -100.0)}


def bow(brush: Brush) -> str:
    """A girl's bow above the temple, red on every hair but red and pink."""
    c = brush.character
    if c.gender == "boy":
        return ""
    color = brush.color("#3b86d8" if c.hair_color in {"red", "pink"} else "#e23f66")
    lobes = [
        brush.shape(
            smooth([(s * 5, 0.0), (s * 24, -26), (s * 44, -20), (s * 44, 20), (s * 24, 26)], tension=0.7), color
        )
        for s in (-1, 1)
    ]
    knot = element("ellipse", cx=0, cy=0, rx=10, ry=12, **brush.fill(tone(color, -0.1)), **brush.outline(color))
    x, y = landmarks(brush)["bow"]
    place = f"translate({x:.1f} {y:.1f}) rotate({24 if x > 0 else -24})"
    return group("".join(lobes) + knot, transform=place)
