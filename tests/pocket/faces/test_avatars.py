"""The avatars that come with the repository."""

from pocket.faces.avatars import Avatars
from tests.house.doors import ROOT


def test_avatars_are_nine_styles_with_their_artists_named() -> None:
    """36,000 faces of nine styles; the held-out styles are not among them; the README names every style's licence."""
    faces = Avatars()
    styles = {faces[index].style for index in range(0, len(faces), 500)}
    assert len(faces) == 36_000
    assert len(styles) == 9
    assert not styles & {"lorelei", "adventurer", "micah"}
    about = (ROOT / "pocket/faces/dicebear/README.md").read_text(encoding="utf-8").lower()
    for style in styles:
        assert style.removesuffix(" doodle").replace(" ", "") in about.replace(" ", "")
    assert about.count("| cc") == 9
    image = faces[0].render("blue", 64)
    assert image.getpixel((0, 0)) == (143, 193, 238)
