"""Where each stage writes, relative to the project root: one folder per stage, named as the stage.

Stage outputs (DVC owns them) lie under `data/`; work that outlives a stage (latent cache, checkpoints,
image memo) lies under `.cache/`, which neither git nor DVC sees.
"""

from pathlib import Path

PARAMS = Path("params.yaml")
CACHE = Path(".cache")
PROGRESS = CACHE / "progress"
"""`<stage>.json` of the stage that runs now; what a watcher reads."""

CHECKED = Path("data/checked.json")
"""What `check` leaves for DVC: ingest waits for it."""
MODELS = Path("data/models.json")
"""Hashes of the local models that the settings name, written by `check` at every `dvc repro`."""
INGEST = Path("data/ingest")
VALIDATE = Path("data/validate")
RESIZE = Path("data/resize")
ORGANIZE = Path("data/organize")
TRAIN = Path("data/train")
VALIDATE_SAMPLE = Path("data/validate-sample")
EVALUATE = Path("data/evaluate")

MANIFEST = "manifest.jsonl"
"""Sorted JSON lines, one per image; the file downstream stages depend on."""

SET_ASIDE = "set_aside.webp"
"""The contact sheet of what `validate` set aside; there is none where nothing was."""

ID = "[0-9a-f]" * 64
"""An image's name: the sha256 of its bytes."""
WRITES = {
    INGEST: (MANIFEST, "sidecars.jsonl", "summary.json", f"store/??/{ID}.*"),
    VALIDATE: (MANIFEST, "quarantine.jsonl", "clusters.jsonl", "summary.json", SET_ASIDE),
    RESIZE: (MANIFEST, "quarantine.jsonl", f"images/{ID}.png"),
    ORGANIZE: ("metadata.jsonl", "*/metadata.jsonl", f"*/{ID}.png", f"*/{ID}.txt"),
    TRAIN: (
        *("README.md", "record.json", "pytorch_lora_weights.safetensors", "last/pytorch_lora_weights.safetensors"),
        *("epochs/epoch-*.safetensors", "samples/epoch-*.png", "plots/loss.csv", "plots/heldout.csv"),
    ),
    VALIDATE_SAMPLE: (
        *("images.jsonl", "sources.jsonl", "checks.json", "suite.json", "images/*-s[0-9]*.png"),
        *("sources/*.png", "counterparts/*.png", "grids/*.png", "grids/*.webp"),
    ),
    EVALUATE: (
        *("report.html", "report.json", "claims.json", "scores.json", "decision.json", "metrics.json"),
        *("grids/nearest.png", "grids/nearest.webp", "plots/*.csv"),
    ),
}
"""What each stage writes into its folder, as patterns; a file that fits none is not the stage's to delete.

LoRA files named after the concept are not among them: `record.json` beside them names them (`files.foreign_files`).
"""
