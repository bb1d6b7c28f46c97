"""Encoders: images and texts become unit vectors. A missing one is named, never replaced."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from huggingface_hub import snapshot_download
from PIL import Image
from transformers import AutoConfig, AutoImageProcessor, AutoModel, AutoTokenizer
from transformers.utils import logging as transformers_logging

from anime_lora.diffusion.weight_file import read_header
from anime_lora.errors import AdapterError, EvaluationError
from anime_lora.evaluation.statistics import Floats
from anime_lora.files import sha256_file

BATCH = 32
NO_TEXT = "the encoder has no text side (evaluate.encoders)"


class Encoder(Protocol):
    """Images -> (n, d) and texts -> (n, d), rows of length 1; `identity` names the weights."""

    name: str
    identity: str
    reads_text: bool

    def images(self, images: Sequence[Image.Image]) -> Floats:
        """Unit vectors of images."""

    def texts(self, texts: Sequence[str]) -> Floats:
        """Unit vectors of texts; only where `reads_text`."""


@dataclass(frozen=True)
class Skipped:
    """Something that was not measured, and why."""

    what: str
    reason: str


class TransformersEncoder:
    """A CLIP-like model (image and text side) or an image model such as DINOv2 (its pooled output)."""

    def __init__(self, folder: Path, name: str, device: str) -> None:
        config = AutoConfig.from_pretrained(folder, local_files_only=True)
        self.name, self.device = name, device
        self.reads_text = hasattr(config, "text_config")
        # safetensors only: weights in a pickle can run code when they are loaded
        self.model: Any = AutoModel.from_pretrained(
            folder, local_files_only=True, use_safetensors=True, dtype=torch.float32
        )
        self.model = self.model.to(device).eval()
        self.processor: Any = AutoImageProcessor.from_pretrained(folder, local_files_only=True)
        self.tokenizer: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True) if self.reads_text else None
        files = sorted(folder.glob("*.safetensors"))
        self.identity = hashlib.sha256("".join(sha256_file(file) for file in files).encode()).hexdigest()[:16]

    @torch.inference_mode()
    def images(self, images: Sequence[Image.Image]) -> Floats:
        """Unit vectors of RGB images, (n, d)."""
        outputs = []
        for start in range(0, len(images), BATCH):
            inputs = self.processor(images=list(images[start : start + BATCH]), return_tensors="pt").to(self.device)
            outputs.append(self.model.get_image_features(**inputs) if self.reads_text else self.model(**inputs))
        return _unit_rows(outputs)

    @torch.inference_mode()
    def texts(self, texts: Sequence[str]) -> Floats:
        """Unit vectors of texts, (n, d)."""
        inputs = self.tokenizer(list(texts), padding=True, truncation=True, return_tensors="pt").to(self.device)
        return _unit_rows([self.model.get_text_features(**inputs)])


def _unit_rows(outputs: Sequence[Any]) -> Floats:
    """Stack model outputs as float64 rows of length 1."""
    tensors = [out if isinstance(out, torch.Tensor) else out.pooler_output for out in outputs]
    rows: Floats = torch.cat(tensors).double().cpu().numpy()
    if not np.isfinite(rows).all():
        raise ValueError("the encoder gives values that are not finite")
    rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    return rows


def load_encoders(names: Sequence[str], device: str) -> tuple[list[Encoder], list[Skipped]]:
    """Every encoder that can be loaded, and those that cannot with the reason.

    Raises:
        EvaluationError: one is there, and its weights are not: a web page, say, or a file that is cut short.
    """
    transformers_logging.disable_progress_bar()
    loaded: list[Encoder] = []
    skipped = []
    for name in names:
        _check_weights(Path(name))
        try:
            loaded.append(TransformersEncoder(_folder(name), name, device))
        except (
            Exception
        ) as error:  # a model's code may raise anything: whatever it is, the encoder is left out and named
            reason = f"cannot be loaded ({type(error).__name__}: {' '.join(str(error).split())[:160]})"
            skipped.append(Skipped(f"encoder {name}", f"{reason}; correct evaluate.encoders"))
    return loaded, skipped


def _check_weights(folder: Path) -> None:
    for file in sorted(folder.glob("*.safetensors")):
        try:
            read_header(file)
        except AdapterError as error:
            raise EvaluationError(f"evaluate.encoders: {error}") from error


def _folder(name: str) -> Path:
    """A local folder, or the snapshot of a hub id."""
    path = Path(name)
    if path.is_dir():
        return path
    if path.is_absolute() or name.count("/") != 1:
        raise FileNotFoundError(f"no folder {name}")
    return Path(snapshot_download(name, allow_patterns=["*.json", "*.txt", "*.safetensors"]))
