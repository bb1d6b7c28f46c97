"""Stands in for `anime_lora/evaluation/stage.py`: scores as good as the LoRA's record says, noise of its own.

`.cache/fake-stages.json` may say that it fails (`blind`).
"""

import json
from pathlib import Path
from typing import Any

import numpy as np

from anime_lora.config import paths
from anime_lora.errors import EvaluationError
from anime_lora.files import write_json, write_text

SETTINGS = paths.CACHE / "fake-stages.json"
MEANS = {"style": 0.6, "features": 0.9, "identity": 0.7, "diversity": 0.4, "sharpness": 0.2, "memorisation": 0.5}


def evaluate(
    section: Any,
    concept: Any,
    base: Any,
    compute: Any,
    *,
    samples: Path = paths.VALIDATE_SAMPLE,
    train: Path = paths.TRAIN,
    out: Path = paths.EVALUATE,
) -> None:
    """Write every file that dvc.yaml expects of the stage."""
    if SETTINGS.is_file() and "blind" in json.loads(SETTINGS.read_text()):
        raise EvaluationError("nobody looks")
    record = json.loads((train / "record.json").read_text())
    suite = json.loads((samples / "suite.json").read_text())["suite_id"]
    noise = np.random.default_rng(record["seed"])
    names = [f"prompt {n}" for n in range(24)]
    units: dict[str, Any] = {}
    for name, mean in {**MEANS, "drift": 0.1}.items():
        values = mean + noise.normal(0, 0.001, len(names)) + (record["quality"] if name == "style" else 0)
        units[name] = {"clusters": names, "units": names, "lora": values.tolist()}
    units["style"] |= {"base": [0.3] * len(names), "own": 0.95}
    out.mkdir(parents=True, exist_ok=True)
    write_json(out / "scores.json", {"suite_id": suite, "gates": {"finite weights": True}, "units": units})
    write_json(out / "metrics.json", {"style": 0.6 + record["quality"]})
    for name in ("claims", "report", "decision"):
        write_json(out / f"{name}.json", [])
    for name in ("report.html", "grids/nearest.png", "plots/strength.csv"):
        write_text(out / name, "none\n")
