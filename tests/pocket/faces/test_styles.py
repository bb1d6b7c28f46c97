"""Styles sampled at random."""

import numpy as np

from pocket.faces.character import sample_character
from pocket.faces.domains import face_svg
from pocket.faces.styles import sample_style


def test_sampled_styles_render_and_differ() -> None:
    """Fifty sampled styles give fifty different images of one character, none with the held-out style's eyes."""
    rng = np.random.Generator(np.random.PCG64(1))
    styles = [sample_style(rng) for _ in range(50)]
    assert len({face_svg(sample_character(3), style) for style in styles}) == 50
    assert "anime" not in {style.eye for style in styles}
