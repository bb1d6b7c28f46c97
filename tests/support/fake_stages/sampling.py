"""Stands in for `anime_lora/sampling/stage.py`: says which suite and which LoRA, generates nothing."""

from pathlib import Path
from typing import Any

from anime_lora.config import paths
from anime_lora.files import fresh_folder, sha256_file, write_json


def validate_sample(
    section: Any, concept: Any, base: Any, compute: Any, *, train: Path = paths.TRAIN, out: Path = paths.VALIDATE_SAMPLE
) -> None:
    """Write suite.json."""
    with fresh_folder(out, paths.WRITES[paths.VALIDATE_SAMPLE]) as folder:
        adapter = sha256_file(train / "pytorch_lora_weights.safetensors")
        write_json(folder / "suite.json", {"suite_id": str(section.seeds), "adapter": adapter})
