"""Eyes, one manner per domain; each renders around (0, 0) with half sizes a, b."""

from pocket.faces.brush import Brush, element, group, mix, smooth, tone


def eye(brush: Brush, side: float, a: float, b: float) -> str:
    """One eye of half width `a` and half height `b`; `side` is -1 on the left of the image, 1 on the right."""
    kind = brush.style.eye
    if kind == "button":
        return _button(brush, a, b)
    if kind == "oval":
        return _oval(brush, side, a, b)
    if kind == "almond":
        return _almond(brush, side, a, b)
    if kind == "anime":
        return _anime(brush, side, a, b)
    return _full(brush, side, a, b)


def _ball(a: float, b: float, side: float, angular: bool = False) -> str:
    """The opening between the lids; the outer corner lies a little higher."""
    if angular:
        return smooth(
            [
                (-a * side, b * 0.2),
                (-a * 0.55 * side, -b),
                (a * 0.8 * side, -b * 0.92),
                (a * side, -b * 0.1),
                (a * 0.5 * side, b),
                (-a * 0.5 * side, b * 0.95),
            ],
            tension=0.45,
        )
    return smooth(
        [
            (-a * side, b * 0.15),
            (-a * 0.5 * side, -b * 0.82),
            (a * 0.35 * side, -b),
            (a * side, -b * 0.2),
            (a * 0.6 * side, b * 0.8),
            (-a * 0.45 * side, b * 0.92),
        ]
    )


def _button(brush: Brush, a: float, b: float) -> str:
    ink = str(brush.outline(brush.skin)["stroke"])
    return (
        element("ellipse", cx=0, cy=0, rx=a, ry=b, fill="#ffffff", stroke=ink, stroke_width=3)
        + element("circle", cx=0, cy=1, r=a * 0.68, fill=brush.iris)
        + element("circle", cx=0, cy=1, r=a * 0.3, fill="#17151c")
    )


def _oval(brush: Brush, side: float, a: float, b: float) -> str:
    ink = str(brush.outline(brush.skin)["stroke"])
    return (
        element("ellipse", cx=0, cy=0, rx=a, ry=b, fill=mix(brush.iris, "#1c1420", 0.35))
        + element("ellipse", cx=0, cy=b * 0.38, rx=a * 0.74, ry=b * 0.5, fill=tone(brush.iris, 0.1))
        + element("ellipse", cx=-a * 0.25, cy=-b * 0.42, rx=a * 0.36, ry=b * 0.26, fill="#ffffff")
        + brush.stroke(f"M{-a * 1.05:.1f} {-b * 0.62:.1f}Q0 {-b * 1.35:.1f} {a * 1.05:.1f} {-b * 0.62:.1f}", ink, 5.5)
    )


def _almond(brush: Brush, side: float, a: float, b: float) -> str:
    hatch = brush.style.shading == "hatch"
    ball, ink = _ball(a, b, side), "#47454c" if hatch else "#3a2620"
    clip = brush.clip(f"eye{'l' if side < 0 else 'r'}", ball)
    iris = mix(brush.iris, "#ffffff", 0.15) if hatch else brush.iris
    inside = (
        element("path", d=ball, fill="#fbf8f4")
        + element("circle", cx=0, cy=-1, r=b * 0.98, fill=tone(iris, -0.08))
        + element("circle", cx=0, cy=0, r=b * 0.78, fill=iris)
        + element("circle", cx=0, cy=-1, r=b * 0.4, fill="#15110f")
        + element("rect", x=-a, y=-b * 1.2, width=2 * a, height=b * 0.55, fill="#000000", opacity=0.22)
        + element("circle", cx=-b * 0.3, cy=-b * 0.4, r=b * 0.2, fill="#ffffff")
    )
    lashes = 4.4 if brush.character.gender == "girl" else 2.0
    upper = brush.stroke(
        f"M{-a * side:.1f} {b * 0.15:.1f}Q{-a * 0.1 * side:.1f} {-b * 1.75:.1f} {a * 1.06 * side:.1f} {-b * 0.25:.1f}",
        ink,
        lashes,
    )
    fold = brush.stroke(
        f"M{-a * 0.85 * side:.1f} {-b * 0.9:.1f}Q0 {-b * 2.1:.1f} {a * 0.95 * side:.1f} {-b * 0.95:.1f}",
        brush.skin_shadow,
        2,
    )
    return group(inside, clip_path=clip) + upper + fold


def _full(brush: Brush, side: float, a: float, b: float) -> str:
    """Round, angular and glossy eyes: white, iris with a dark rim, pupil, lid line."""
    kind = brush.style.eye
    ball = _ball(a, b, side, angular=kind == "angular")
    clip = brush.clip(f"eye{'l' if side < 0 else 'r'}", ball)
    ink = "#3a2418" if kind == "round" else "#17121c"
    radius = b * {"round": 0.72, "angular": 0.92, "glossy": 0.86}[kind]
    parts = [
        element("path", d=ball, fill="#ffffff"),
        element("ellipse", cx=0, cy=0, rx=radius * 0.88, ry=radius, fill=tone(brush.iris, -0.14)),
    ]
    if kind == "glossy":
        fill = brush.vertical("irisgloss", tone(brush.iris, -0.2), tone(brush.iris, 0.18))
        parts.append(element("ellipse", cx=0, cy=0, rx=radius * 0.8, ry=radius * 0.92, fill=fill))
    else:
        parts.append(element("ellipse", cx=0, cy=radius * 0.1, rx=radius * 0.66, ry=radius * 0.76, fill=brush.iris))
    parts.append(element("ellipse", cx=0, cy=0, rx=radius * 0.36, ry=radius * 0.44, fill="#120e14"))
    if kind != "angular":
        parts.append(element("circle", cx=-radius * 0.32, cy=-radius * 0.42, r=radius * 0.24, fill="#ffffff"))
    width = {"round": 3.0, "angular": 5.5, "glossy": 3.4}[kind]
    upper = brush.stroke(
        f"M{-a * side:.1f} {b * 0.1:.1f}Q{-a * 0.1 * side:.1f} {-b * 1.72:.1f} {a * 1.05 * side:.1f} {-b * 0.2:.1f}",
        ink,
        width * (1.6 if brush.character.gender == "girl" else 1.0),
    )
    return group("".join(parts), clip_path=clip) + upper


def _anime(brush: Brush, side: float, a: float, b: float) -> str:
    """Tall iris from dark to bright, two lights, a heavy upper lash line with a wing, a thin lower one."""
    ball = smooth(
        [
            (-a * 0.92 * side, -b * 0.1),
            (-a * 0.6 * side, -b * 0.78),
            (a * 0.2 * side, -b * 0.92),
            (a * 0.95 * side, -b * 0.45),
            (a * 0.88 * side, b * 0.35),
            (a * 0.35 * side, b * 0.96),
            (-a * 0.5 * side, b * 0.86),
        ]
    )
    name = "l" if side < 0 else "r"
    clip = brush.clip(f"eye{name}", ball)
    dark, bright = mix(tone(brush.iris, -0.24), "#1a1030", 0.4), tone(brush.iris, 0.17, 1.15)
    fill = brush.vertical("irisanime", dark, bright)
    ink = mix("#24162c", brush.hair_dark, 0.22)
    inside = (
        element("path", d=ball, fill="#ffffff")
        + element("rect", x=-a * 1.1, y=-b, width=a * 2.2, height=b * 0.5, fill="#b9aecb", opacity=0.55)
        + element("ellipse", cx=0, cy=b * 0.02, rx=a * 0.78, ry=b * 0.94, fill=dark)
        + element("ellipse", cx=0, cy=b * 0.05, rx=a * 0.69, ry=b * 0.86, fill=fill)
        + element("ellipse", cx=0, cy=-b * 0.02, rx=a * 0.31, ry=b * 0.42, fill="#160e1e")
        + element("ellipse", cx=0, cy=b * 0.56, rx=a * 0.34, ry=b * 0.2, fill=mix(bright, "#ffffff", 0.45), opacity=0.9)
        + element("ellipse", cx=-a * 0.26, cy=-b * 0.36, rx=a * 0.25, ry=b * 0.24, fill="#ffffff")
        + element("circle", cx=a * 0.27, cy=b * 0.34, r=a * 0.12, fill="#ffffff")
    )
    girl = brush.character.gender == "girl"
    wing = 1.24 if girl else 1.04
    lash = smooth(
        [
            (-a * 1.0 * side, -b * 0.12),
            (-a * 0.66 * side, -b * 0.92),
            (a * 0.2 * side, -b * 1.12),
            (a * 0.96 * side, -b * 0.66),
            (a * wing * side, -b * (0.55 if girl else 0.3)),
            (a * 0.9 * side, -b * 0.42),
            (a * 0.2 * side, -b * 0.84),
            (-a * 0.6 * side, -b * 0.7),
        ],
        tension=0.8,
    )
    lower = brush.stroke(
        f"M{a * 0.82 * side:.1f} {b * 0.5:.1f}Q{a * 0.4 * side:.1f} {b * 1.02:.1f} {-a * 0.4 * side:.1f} {b * 0.9:.1f}",
        ink,
        1.8,
    )
    fold = brush.stroke(
        f"M{-a * 0.6 * side:.1f} {-b * 1.18:.1f}"
        f"Q{a * 0.2 * side:.1f} {-b * 1.42:.1f} {a * 0.85 * side:.1f} {-b * 1.02:.1f}",
        brush.skin_shadow,
        2,
    )
    return group(inside, clip_path=clip) + element("path", d=lash, fill=ink) + lower + (fold if girl else "")
