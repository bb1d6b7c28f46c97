"""The files behind the settings that name models, before hours are spent: whole, no pickle, and for this base.

By their headers alone and without torch, so that a preflight can ask. Hub ids are the hub's to answer.
"""

from collections.abc import Iterator
from pathlib import Path

from anime_lora.config.load import Params
from anime_lora.diffusion.weight_file import PICKLED, Header, read_header
from anime_lora.errors import AdapterError
from anime_lora.lora.architecture import READ_HERE, WIDTHS, architecture, text_width

UNET = Path("unet/diffusion_pytorch_model.safetensors")


def model_problems(params: Params) -> list[str]:
    """One sentence for each file that cannot be used, with the setting that names it."""
    sample = params.validate_sample
    folders = [("base.model", params.base.model), ("validate_sample.controlnet", sample.controlnet or "")]
    folders += [("evaluate.encoders", name) for name in params.evaluate.encoders]
    problems = [problem for setting, name in folders for problem in _problems(setting, Path(name)) if name]
    if sample.second_adapter and Path(sample.second_adapter).exists():
        problems += adapter_problems("validate_sample.second_adapter", Path(sample.second_adapter), params.base.model)
    return problems


def _problems(setting: str, path: Path) -> Iterator[str]:
    """Of a file, or of every safetensors file in a folder; a folder with none but pickles is one too."""
    files = sorted(path.rglob("*.safetensors")) if path.is_dir() else [path] if path.is_file() else []
    for file in files:
        try:
            read_header(file)
        except AdapterError as error:
            yield f"{setting}: {error}"
    pickles = sorted(file.name for file in path.glob("*") if file.suffix in PICKLED) if path.is_dir() else []
    if pickles and not files:
        yield f"{setting}: {path} holds only pickled weights ({pickles[0]}), which are not read: get it as .safetensors"


def adapter_problems(setting: str, file: Path, base: str) -> list[str]:
    """What stands against a LoRA file on a base, by the names and widths in the headers."""
    try:
        header = read_header(file)
    except AdapterError as error:
        return [f"{setting}: {error}"]
    made_for = architecture(header.tensors)
    if made_for is not None and made_for not in READ_HERE:
        return [f"{setting}: {file} is for {made_for}, and this works with {READ_HERE[0]} and 2.x: name another"]
    theirs, ours = text_width(header.tensors), _base_width(Path(base))
    if theirs is not None and ours is not None and theirs != ours:
        names = [WIDTHS.get(width, f"a base that reads text of width {width}") for width in (theirs, ours)]
        return [f"{setting}: {file} was made for {names[0]}, and base.model {base} is {names[1]}: name another"]
    return []


def _base_width(base: Path) -> int | None:
    """Width of the text that a base's UNet reads; None of a hub id, a single file or what cannot be read."""
    try:
        header: Header = read_header(base / UNET)
    except AdapterError:
        return None
    return text_width(header.tensors)
