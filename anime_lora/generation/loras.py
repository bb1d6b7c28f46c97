"""Which LoRA files an image is made with: `FILE[:WEIGHT]`, names of a prompt's tags, and the project's own."""

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from anime_lora.config import paths
from anime_lora.diffusion.weight_file import data_hash, read_header
from anime_lora.errors import AdapterError, SamplingError
from anime_lora.generation.values import nearest

ADAPTER = "pytorch_lora_weights.safetensors"
FOLDERS = (Path("models/champion"), paths.TRAIN, paths.TRAIN / "epochs", Path("data/adapters"))
"""Where a LoRA is looked for by name, beside the folders that are given."""
LARGEST = 10.0
"""Weights lie between this and its negative."""


@dataclass(frozen=True)
class LoraFile:
    """A LoRA file by what prompts call it."""

    file: Path

    @cached_property
    def name(self) -> str:
        """Its name in a prompt: the file's, of diffusers' fixed name that of the webui's file beside it."""
        beside = [other for other in self.file.parent.glob("*.safetensors") if other.name != ADAPTER]
        file = beside[0] if self.file.name == ADAPTER and len(beside) == 1 else self.file
        return re.sub("[<>:,]", "_", file.stem)  # a tag and a list of hashes cannot hold these

    @cached_property
    def sha256(self) -> str:
        """Of its weights: what webuis write into images."""
        return data_hash(self.file)

    @cached_property
    def metadata(self) -> dict[str, str]:
        """What the file says about itself.

        Raises:
            AdapterError: it is no safetensors file.
        """
        return read_header(self.file).metadata

    @property
    def trigger(self) -> str:
        """The words that call it, where the file says them."""
        return self.metadata.get("modelspec.trigger_phrase", "")


@dataclass(frozen=True)
class LoraChoice:
    """A LoRA and its weight in one image; `text_weight` is that of its part on the text encoder."""

    lora: LoraFile
    weight: float = 1.0
    text_weight: float | None = None
    """None: as `weight`."""

    @property
    def tag(self) -> str:
        """As a prompt writes it."""
        weights = [self.weight] if self.text_weight is None else [self.text_weight, self.weight]
        return f"<lora:{self.lora.name}:{':'.join(f'{weight:g}' for weight in weights)}>"


class LoraLibrary:
    """The LoRA files in some folders, by name and by hash."""

    def __init__(self, folders: Iterable[Path]) -> None:
        self.folders = list(folders)

    @cached_property
    def files(self) -> list[LoraFile]:
        """All of them, folder by folder; of one folder diffusers' file comes first, whose weights are fp32."""
        files = [file for folder in self.folders for file in sorted(folder.glob("*.safetensors"))]
        return sorted(
            map(LoraFile, files), key=lambda one: (self.folders.index(one.file.parent), one.file.name != ADAPTER)
        )

    def find(self, name: str, sha256: str | None = None) -> LoraFile | None:
        """The file whose weights have the hash (its beginning is enough), else the first of that name."""
        named = [one for one in self.files if name in {one.name, one.file.stem, one.file.name}]
        same = [one for one in named if sha256 and one.sha256.startswith(sha256.lower())]
        return next(iter([*same, *named]), None)

    def by_name(self, name: str) -> LoraFile:
        """The file of that name.

        Raises:
            SamplingError: there is none; says where it was looked for.
        """
        if lora := self.find(name):
            return lora
        others = [one.name for one in self.files]
        hint = f"; {nearest(name, others)}" if others else ""
        places = ", ".join(map(str, self.folders))
        raise SamplingError(
            f"LoRA {name}: there is no such file, here or in {places}{hint} (--lora-folder names another folder)"
        )

    def choose(self, text: str) -> LoraChoice:
        """What `--lora FILE[:WEIGHT]` means.

        Raises:
            SamplingError: no such file, or the weight is no number.
        """
        name, separator, weight = text.rpartition(":")
        if Path(text).is_file() or not separator:
            return LoraChoice(self.file(text))
        return LoraChoice(self.file(name), lora_weight(text, weight))

    def file(self, name: str) -> LoraFile:
        """The LoRA in a file, or of that name.

        Raises:
            SamplingError: there is none, or a folder of that name holds none.
        """
        path = Path(name).expanduser()
        if path.is_dir():
            if (path / ADAPTER).is_file():
                return LoraFile(path / ADAPTER)
            raise SamplingError(f"--lora {name}: the folder holds no {ADAPTER}; name a .safetensors file")
        return LoraFile(path) if path.is_file() else self.by_name(name)


def lora_weight(text: str, weight: str) -> float:
    """A LoRA's weight from text.

    Raises:
        SamplingError: it is no number, or out of range.
    """
    try:
        value = float(weight)
    except ValueError:
        value = math.nan
    if not abs(value) <= LARGEST:
        raise SamplingError(
            f"--lora {text}: the weight '{weight}' is no number from -{LARGEST:g} to {LARGEST:g}; write it as FILE:0.8"
        )
    return value


def project_lora() -> LoraFile:
    """The LoRA of this project: the published one, else the one just trained.

    Raises:
        AdapterError: there is none yet.
    """
    for folder in (Path("models/champion"), paths.TRAIN):
        if (folder / ADAPTER).is_file():
            return LoraFile(folder / ADAPTER)
    raise AdapterError(
        "there is no LoRA yet (models/champion/, data/train/): train one by `make run` or `dvc repro train`, name a "
        "file by --lora FILE, or use --no-lora"
    )
