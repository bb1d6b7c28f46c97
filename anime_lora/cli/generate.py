"""The command that generates images: its options, which `anime_lora.generation` reads."""

from pathlib import Path
from typing import Annotated

import typer

from anime_lora.cli.page import USE_PANEL, examples, read_params

app = typer.Typer()

WHAT, HOW, WITH, WHERE = "What is shown", "How it is generated", "With which LoRA", "Where it goes"

Prompt = Annotated[list[str] | None, typer.Argument(
    help="A1111's syntax: `(word:1.2)`, `[word]`, `BREAK`, `<lora:name:0.8>`. Default: the LoRA's trigger.",
    show_default=False,
)]  # fmt: skip
PromptFile = Annotated[
    Path | None, typer.Option("--prompts", help="A text file, one prompt a line.", rich_help_panel=WHAT)
]
Negative = Annotated[str | None, typer.Option(help="What should not be shown.", rich_help_panel=WHAT)]
Source = Annotated[Path | None, typer.Option(
    "--source", "-s", help="Image to image: a photo, or a folder of them.", rich_help_panel=WHAT,
)]  # fmt: skip
Strength = Annotated[str | None, typer.Option(
    help="How much of the source is made anew, up to 1. Default 0.65.", rich_help_panel=WHAT, show_default=False,
)]  # fmt: skip
Crop = Annotated[str | None, typer.Option(
    help="Which part of the source: face (with the extra `faces`), top, center, or LEFT,TOP,SIDE of a square.",
    rich_help_panel=WHAT,
)]  # fmt: skip
Again = Annotated[Path | None, typer.Option(
    "--from", help="An image of ours, A1111, Forge or ComfyUI that is made again; other options change it.",
    rich_help_panel=WHAT,
)]  # fmt: skip
Seeds = Annotated[
    list[str] | None, typer.Option("--seed", help="7, 1,2,3 or 1-4: an image for each.", rich_help_panel=HOW)
]
Steps = Annotated[str | None, typer.Option(help="Denoising steps.", rich_help_panel=HOW)]
Guidance = Annotated[
    str | None, typer.Option("--guidance", "--cfg", help="How strictly the prompt is followed.", rich_help_panel=HOW)
]
Scheduler = Annotated[str | None, typer.Option(
    "--scheduler", "--sampler", rich_help_panel=HOW,
    help="As webuis name it: Euler a, DPM++ 2M Karras, DDIM, UniPC … Default: the base's own.",
)]  # fmt: skip
Size = Annotated[str | None, typer.Option(help="512 or 512x768. Default: the base's own.", rich_help_panel=HOW)]
ClipSkip = Annotated[
    str | None, typer.Option(help="1: the text encoder's last layer, 2: the one before.", rich_help_panel=HOW)
]
Batch = Annotated[
    str | None, typer.Option(help="Images at once on a GPU; a CPU makes one by one.", rich_help_panel=HOW)
]
Loras = Annotated[list[str] | None, typer.Option(
    "--lora", help="FILE[:WEIGHT], as often as wanted. Default: this project's.", rich_help_panel=WITH,
)]  # fmt: skip
NoLora = Annotated[bool, typer.Option("--no-lora", help="The base alone.", rich_help_panel=WITH)]
LoraFolders = Annotated[list[Path] | None, typer.Option(
    "--lora-folder", help="Where `<lora:name:0.8>` is looked for first.", rich_help_panel=WITH,
)]  # fmt: skip
ControlNet = Annotated[str | None, typer.Option(
    "--controlnet", help="A Canny ControlNet for this base: folder or hub id.", rich_help_panel=WITH,
)]  # fmt: skip
ControlImage = Annotated[
    Path | None, typer.Option(help="Whose edges it follows. Default: the source's.", rich_help_panel=WITH)
]
ControlScale = Annotated[
    str | None,
    typer.Option(
        help="Its weight, 0 to 2; alone, it follows the source with the ControlNet of params.yaml.",
        rich_help_panel=WITH,
    ),
]
Xyz = Annotated[list[str] | None, typer.Option(
    help="A grid, up to three times: seed=1,2,3, strength=0.5,0.8, scheduler=Euler a,DDIM, prompt=a|b, steps, "
    "guidance, scale, clip-skip, checkpoint=FILE,FILE, base.", rich_help_panel=WHERE,
)]  # fmt: skip
Out = Annotated[Path, typer.Option("--out", "-o", help="The folder; nothing in it is replaced.", rich_help_panel=WHERE)]


@app.command(
    rich_help_panel=USE_PANEL,
    epilog=examples(
        ("anime-lora generate --source photo.jpg --crop face", "turns a person into anime with this project's LoRA"),
        (
            'anime-lora generate "myAnimeStyleToken anime_face girl, (red hair:1.2)" --seed 1-4',
            "four images of a text",
        ),
        ('anime-lora generate "girl" --lora a.safetensors:0.7 --lora b.safetensors:0.4', "two LoRAs at once"),
        ("anime-lora generate -s photo.jpg --xyz strength=0.5,0.65,0.8 --xyz guidance=5,7.5", "a grid with labels"),
        ("anime-lora generate --from generated/00001-101.png --seed 7", "the same again, with another seed"),
    ),
)
def generate(
    prompt: Prompt = None,
    *,
    prompt_file: PromptFile = None,
    negative: Negative = None,
    source: Source = None,
    strength: Strength = None,
    crop: Crop = None,
    again: Again = None,
    seed: Seeds = None,
    steps: Steps = None,
    guidance: Guidance = None,
    scheduler: Scheduler = None,
    size: Size = None,
    clip_skip: ClipSkip = None,
    batch: Batch = None,
    lora: Loras = None,
    no_lora: NoLora = False,
    lora_folder: LoraFolders = None,
    controlnet: ControlNet = None,
    control_image: ControlImage = None,
    control_scale: ControlScale = None,
    xyz: Xyz = None,
    out: Out = Path("generated"),
) -> None:
    """Generate images: from text, from photos, as a grid, or again from an image that was made before.

    What is not given comes from `validate_sample` in params.yaml. Writes numbered PNG files with A1111's `parameters`
    inside, and a line each in images.jsonl, to `--out`. On a CPU the same command gives the same pixels.
    """
    from anime_lora.generation.generate import generate as run
    from anime_lora.generation.request import Options

    options = Options(
        tuple(prompt or ()),
        prompt_file,
        negative,
        source,
        strength,
        crop,
        tuple(seed or ()),
        steps,
        guidance,
        scheduler,
        size,
        clip_skip,
        tuple(lora or ()),
        no_lora,
        tuple(lora_folder or ()),
        again,
        controlnet,
        control_image,
        control_scale,
        batch,
        tuple(xyz or ()),
        out,
    )
    for file in run(options, read_params()):
        print(file)
