"""Colours: mixing, and what a domain does to them."""

import colorsys


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
