"""Where each stage writes, relative to the project root: one folder per stage, named as the stage.

Stage outputs (DVC owns them) lie under `data/`; work that outlives a stage (latent cache, checkpoints,
picture memo) lies under `.cache/`, which neither git nor DVC sees.
"""

from pathlib import Path

PARAMS = Path("params.yaml")
CACHE = Path(".cache")
PROGRESS = CACHE / "progress"
"""`<stage>.json` of the stage that runs now; what a watcher reads."""

INGEST = Path("data/ingest")
VALIDATE = Path("data/validate")
RESIZE = Path("data/resize")
ORGANIZE = Path("data/organize")
TRAIN = Path("data/train")
VALIDATE_SAMPLE = Path("data/validate-sample")
EVALUATE = Path("data/evaluate")

MANIFEST = "manifest.jsonl"
"""Sorted JSON lines, one per picture; the file downstream stages depend on."""
