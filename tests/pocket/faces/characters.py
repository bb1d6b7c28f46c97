"""Characters that differ in one thing only."""

from dataclasses import replace

from pocket.faces.character import Character, sample_character


def variant(character: Character, name: str, value: str) -> Character:
    """`character` with one classifiable attribute set to `value`."""
    return replace(character, **{name: value == "glasses" if name == "glasses" else value})


def plain() -> Character:
    """A girl with long straight hair in the middle of the image, without tilt or turn."""
    middle = replace(sample_character(11), gender="girl", hair_length="long", hair_style="straight", glasses=False)
    return replace(
        middle, backdrop="plain", background="grey", turn=0.0, tilt=0.0, scale=1.0, dx=0.0, dy=0.0, shade=0.0
    )
