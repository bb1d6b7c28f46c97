"""A suite that the tiny base of the sampling tests generates in seconds, with every gallery that needs no files."""

from anime_lora.config.sample import ValidateSample
from anime_lora.config.section import Concept

CONCEPT = Concept(trigger="myStyle", class_name="face", instance_prompt="myStyle face portrait")
SOURCE_NAMES = (
    "a.jpg", "a.png", "B.JPEG", "b.png", "my face.webp", "my_face.png", "顔.png", "😀.png", "😀😀.png", "x.JPG",
)  # fmt: skip
"""Sources that would share files if their names were cut to what file systems hold."""


def small_suite(**changes: object) -> ValidateSample:
    """The section of the params, two denoising steps an image."""
    values: dict[str, object] = {
        "seeds": (1, 2), "steps": 2, "guidance": 5.0, "negative_prompt": "", "batch_size": 8,
        "prompts": ("girl, red hair", "boy, blue hair"), "sweep_prompts": 2,
        "guidances": (1.0, 5.0), "scales": (0.0, 1.0),
        "styles": {"chibi": "chibi style"}, "style_prompts": ("girl",), "style_guidances": (5.0,),
        "unrelated_prompts": ("a photo", "a sketch"), "sources": None, "counterparts": None,
        "source_prompt": "portrait", "source_seeds": 1,
        "strengths": (0.5, 1.0), "base_strengths": (1.0,), "second_adapter": None, "controlnet": None,
    }  # fmt: skip
    return ValidateSample.model_validate({**values, **changes})
