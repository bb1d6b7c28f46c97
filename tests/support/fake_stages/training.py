"""Stands in for `anime_lora/training/stage.py`: a LoRA of the right shape in a second, as good as the test says.

`.cache/fake-stages.json` says how good (`quality`), how slow (`seconds`), and whether its weights are NaN (`broken`).
"""

import hashlib
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file

from anime_lora.config import paths
from anime_lora.errors import TrainingError
from anime_lora.files import fresh_folder, write_json, write_text

SETTINGS = paths.CACHE / "fake-stages.json"


def train(settings: Any, concept: Any, base: Any, compute: Any, out: Path = paths.TRAIN) -> None:
    """Write the LoRA and its record."""
    fake = {"quality": 0.0, "seconds": 0, **(json.loads(SETTINGS.read_text()) if SETTINGS.is_file() else {})}
    time.sleep(fake["seconds"])
    if "error" in fake:
        raise TrainingError(fake["error"])
    dataset = (paths.ORGANIZE / "metadata.jsonl").read_bytes()
    seed = int(hashlib.sha256(dataset + str(settings.rank).encode()).hexdigest()[:8], 16)
    noise = np.random.default_rng(seed)
    weights = {n: w + noise.normal(0, 0.01, w.shape).astype(w.dtype) for n, w in load_file("lora.safetensors").items()}
    if fake.get("broken"):
        weights = {name: np.full_like(weight, np.nan) for name, weight in weights.items()}
    with fresh_folder(out, paths.WRITES[paths.TRAIN]) as folder:
        save_file(weights, folder / "pytorch_lora_weights.safetensors")
        (folder / "samples").mkdir()
        write_text(folder / "samples" / "epoch-00.png", "none\n")
        for name in ("loss", "heldout"):
            write_text(folder / "plots" / f"{name}.csv", "epoch,heldout\n0,1.0\n")
        record = {"epoch": 1, "reason": "the only one", "epochs": [{"epoch": 1}]}
        write_json(folder / "record.json", {**record, "quality": fake["quality"], "seed": seed})
