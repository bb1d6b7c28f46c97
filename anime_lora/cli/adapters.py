"""Commands that make LoRA files and bases out of others, and check them."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from anime_lora.cli.page import ADAPTERS_PANEL, examples, print_table, read_params
from anime_lora.config.section import Base

app = typer.Typer()
Format = Literal["kohya", "diffusers"]
Dtype = Literal["fp32", "fp16", "bf16"]
Files = Annotated[list[str], typer.Argument(help="FILE or FILE:WEIGHT, any number; without a weight it is 1.")]
File = Annotated[Path, typer.Argument(help="A LoRA file: kohya, diffusers or LyCORIS.")]
Out = Annotated[Path, typer.Option("--out", "-o", help="The new file, ending in .safetensors.")]
Force = Annotated[bool, typer.Option("--force", help="Replace the new file where it is there already.")]
FileFormat = Annotated[Format, typer.Option("--format", help="kohya: for A1111, Forge, ComfyUI and diffusers.")]
BaseOption = Annotated[str | None, typer.Option("--base", help="A diffusers folder or checkpoint; else base.model's.")]


def _base(name: str | None) -> Path:
    """The base that is named, else the one in params.yaml."""
    from anime_lora.diffusion.base_model import locate

    return locate(Base(model=name, revision=None, resolution=512) if name else read_params().base)


@app.command(
    rich_help_panel=ADAPTERS_PANEL,
    epilog=examples(
        ("anime-lora merge style.safetensors:0.7 face.safetensors:0.5 -o both.safetensors", "the exact sum"),
        ("anime-lora merge a.safetensors b.safetensors:-0.3 --rank 16 -o c.safetensors", "nearest of rank 16"),
    ),
)
def merge(  # noqa: PLR0917  typer's parameters are the command line's options
    files: Files,
    out: Out,
    rank: Annotated[int | None, typer.Option(min=1, help="Highest rank of the result; else it is exact.")] = None,
    file_format: FileFormat = "kohya",
    dtype: Annotated[Dtype, typer.Option(help="fp16 halves the file, at a rounding of 0.05 %.")] = "fp32",
    force: Force = False,
) -> None:
    """Add LoRAs at their weights into one file: the images of both adapters at once.

    Exact: the factors stand beside each other, so the ranks add up. With --rank the nearest LoRA of that rank, and what
    is lost is printed. LoCon, LoHa, LoKr and full differences are taken too; a DoRA is not a sum and is refused.
    """
    from anime_lora.lora.rewrite import check_output, merge_files
    from anime_lora.lora.weights import parse_weighted

    parts = [parse_weighted(text) for text in files]
    check_output(out, [path for path, _ in parts], force)
    print("\n".join(merge_files(parts, out, file_format, dtype, rank).lines()))


@app.command(
    rich_help_panel=ADAPTERS_PANEL,
    epilog=examples(
        ("anime-lora convert pytorch_lora_weights.safetensors --to kohya -o style.safetensors", "for A1111, ComfyUI"),
        ("anime-lora convert style.safetensors --to diffusers -o pytorch_lora_weights.safetensors", "for diffusers"),
    ),
)
def convert(
    file: File,
    out: Out,
    to: Annotated[Format, typer.Option("--to", help="kohya (A1111, Forge, ComfyUI) or diffusers (PEFT).")] = "kohya",
    dtype: Annotated[Dtype | None, typer.Option(help="Of the factors; else as they are.")] = None,
    force: Force = False,
) -> None:
    """Write a LoRA in another program's format; there and back gives the same tensors.

    Reads kohya, diffusers/PEFT, diffusers' old attention processors and LyCORIS. LoHa, LoKr and full differences become
    plain factors of the rank that holds them exactly.
    """
    from anime_lora.lora.rewrite import check_output, convert_file

    check_output(out, [file], force)
    print("\n".join(convert_file(file, out, to, dtype).lines()))


@app.command(
    "resize-adapter",
    rich_help_panel=ADAPTERS_PANEL,
    epilog=examples(
        ("anime-lora resize-adapter style.safetensors --rank 8 -o small.safetensors", "at most rank 8"),
        ("anime-lora resize-adapter style.safetensors --energy 0.98 -o small.safetensors", "98 % of the energy"),
    ),
)
def resize_adapter(  # noqa: PLR0917  typer's parameters are the command line's options
    file: File,
    out: Out,
    rank: Annotated[int | None, typer.Option(min=1, help="Highest rank of a module.")] = None,
    energy: Annotated[
        float | None, typer.Option(min=0, max=1, help="Share of each module's energy to keep, such as 0.98.")
    ] = None,
    file_format: FileFormat = "kohya",
    dtype: Annotated[Dtype | None, typer.Option(help="Of the factors; else as they are.")] = None,
    force: Force = False,
) -> None:
    """Make a LoRA smaller: the nearest one of lower rank, and how much of its energy is left.

    The energy is the sum of the squared singular values of all changes. A rank that is not lower changes nothing.
    """
    from anime_lora.errors import AdapterError
    from anime_lora.lora.rewrite import check_output, resize_file

    if rank is None and not energy:
        raise AdapterError("resize-adapter needs --rank, such as 8, or --energy, such as 0.98")
    check_output(out, [file], force)
    print("\n".join(resize_file(file, out, file_format, rank=rank, energy=energy, dtype=dtype).lines()))


@app.command(
    rich_help_panel=ADAPTERS_PANEL,
    epilog=examples(
        ("anime-lora fuse style.safetensors:0.8 -o models/style", "the base of params.yaml with the LoRA in it"),
        ("anime-lora fuse a.safetensors b.safetensors:0.5 --base sd15/ -o fused", "two, onto another base"),
    ),
)
def fuse(
    files: Files,
    out: Annotated[Path, typer.Option("--out", "-o", help="The new folder.")],
    base: BaseOption = None,
    dtype: Annotated[Dtype, typer.Option(help="Of all weights; fp16 halves the folder.")] = "fp32",
) -> None:
    """Put LoRAs into a base's weights for good: a diffusers folder that loads without a LoRA.

    `StableDiffusionPipeline.from_pretrained(FOLDER)` reads it. A DoRA is taken too.
    """
    from anime_lora.lora.fuse import fuse as run
    from anime_lora.lora.weights import parse_weighted

    notes = run([parse_weighted(text) for text in files], _base(base), out, dtype)
    print("\n".join([*(f"note: {note}" for note in notes), f"wrote {out}"]))


@app.command(
    rich_help_panel=ADAPTERS_PANEL,
    epilog=examples(
        ("anime-lora extract tuned/ --rank 32 -o style.safetensors", "against the base of params.yaml"),
        ("anime-lora extract tuned.safetensors --base sd15/ --rank 64 -o style.safetensors", "against another base"),
    ),
)
def extract(  # noqa: PLR0917  typer's parameters are the command line's options
    tuned: Annotated[str, typer.Argument(help="The fine-tuned base: a diffusers folder or checkpoint.")],
    out: Out,
    rank: Annotated[int, typer.Option(min=1, help="Highest rank of a module.")],
    base: BaseOption = None,
    file_format: FileFormat = "kohya",
    dtype: Annotated[Dtype, typer.Option(help="fp16 halves the file.")] = "fp16",
    force: Force = False,
) -> None:
    """Get a LoRA out of a fine-tuned base: the nearest one to the difference from its own base.

    What it keeps is printed, and what no LoRA can hold: embeddings, norms, biases.
    """
    from anime_lora.lora.fuse import extract as run
    from anime_lora.lora.rewrite import Written, check_output
    from anime_lora.lora.write import DTYPES, network_metadata, write_weights

    check_output(out, [], force)
    result = run(_base(tuned), _base(base), rank)
    write_weights(out, result.modules, network_metadata(result.modules), file_format, DTYPES[dtype])
    print("\n".join(Written(out, len(result.modules), result.notes(), result.loss).lines()))


@app.command(
    rich_help_panel=ADAPTERS_PANEL,
    epilog=examples(
        ("anime-lora verify style.safetensors", "on the base of params.yaml"),
        ("anime-lora verify style.safetensors --base sd15/ && cp style.safetensors ~/Lora/", "in a script"),
    ),
)
def verify(file: File, base: BaseOption = None) -> None:
    """Check that a LoRA file is whole and fits the base: keys, shapes, ranks, alphas, NaN, hash.

    Exit code 0 where it is usable, 1 where a row fails. No image is generated; `check-adapter` does that.
    """
    from anime_lora.diffusion.base_model import weights_hash
    from anime_lora.lora.base_fit import shapes_of_base
    from anime_lora.lora.verify import verify as run

    path = _base(base)
    checks = run(file, shapes_of_base(path), lambda: weights_hash(path))
    print_table([(check.what, f"{check.verdict:<6}{check.answer}") for check in checks])
    if any(check.verdict == "fails" for check in checks):
        raise typer.Exit(1)
