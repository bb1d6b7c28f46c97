"""What a run leaves on record: the facts, the curves, and a card for people."""

from pathlib import Path
from typing import Any

from anime_lora.files import sha256_file, write_json, write_text
from anime_lora.training.selection import scores
from anime_lora.training.state import State


def write_curves(folder: Path, state: State) -> None:
    """`plots/loss.csv` and `plots/heldout.csv`."""
    write_text(folder / "plots" / "loss.csv", table(("step", "epoch", "loss", "lr"), state.losses))
    write_text(
        folder / "plots" / "heldout.csv", table(("epoch", "heldout", "probe", "gap", "style", "score"), scored(state))
    )


def scored(state: State) -> list[dict[str, Any]]:
    """The validated epochs with their selection scores."""
    return [{**row, "score": score} for row, score in zip(state.epochs, scores(state.epochs), strict=True)]


def table(columns: tuple[str, ...], rows: list[dict[str, Any]]) -> str:
    """CSV with a header; None is an empty field."""
    lines = [",".join("" if row[name] is None else str(row[name]) for name in columns) for row in rows]
    return "\n".join([",".join(columns), *lines]) + "\n"


def write_record(folder: Path, facts: dict[str, Any], adapters: dict[str, Path]) -> dict[str, Any]:
    """`record.json`: `facts` and each adapter file's name and sha256; returned too."""
    files = {kind: {"file": path.name, "sha256": sha256_file(path)} for kind, path in adapters.items()}
    record = {**facts, "adapters": files}
    write_json(folder / "record.json", record)
    return record


def _epochs(record: dict[str, Any]) -> str:
    """The validated epochs as a Markdown table."""
    names = ("epoch", "step", "heldout", "probe", "style", "score")
    rows = [[row[name] for name in names] for row in record["epochs"]]
    cells = [["" if v is None else f"{v:.5g}" for v in row] for row in rows]
    lines = ["| " + " | ".join(row) + " |" for row in [list(names), ["---"] * len(names), *cells]]
    return "\n".join(lines) + "\n"


def write_card(folder: Path, record: dict[str, Any], strip: str) -> None:
    """`README.md`: the model card, with lineage and use."""
    params, concept, kohya = record["params"], record["concept"], record["adapters"]["kohya"]["file"]
    heldout = next(row["heldout"] for row in record["epochs"] if row["epoch"] == record["epoch"])
    write_text(
        folder / "README.md",
        f"""---
tags: [lora, stable-diffusion, diffusers, anime]
base_model: {record["base"]["model"]}
instance_prompt: {concept["instance_prompt"]}
---
# {concept["trigger"]} {concept["class_name"]}

![Samples of the published epoch]({strip})

A LoRA of rank {params["rank"]} (alpha {params["alpha"]}, {params["target"]}) for `{record["base"]["model"]}`,
trained on {record["dataset"]["train"]} images for {record["steps"]} steps.
Published: epoch {record["epoch"]}, {record["reason"]}.

Prompt with `{concept["instance_prompt"]}`.

- diffusers: `pipe.load_lora_weights(".", weight_name="pytorch_lora_weights.safetensors")`
- A1111, Forge, ComfyUI: put `{kohya}` into the webui's LoRA folder, then `<lora:{Path(kohya).stem}:1>`

| lineage | |
|---|---|
| base weights sha256 | `{record["base"]["weights_sha256"]}` |
| dataset sha256 | `{record["dataset"]["sha256"]}` |
| params sha256 | `{record["params_sha256"]}` |
| code | anime_lora {record["version"]}, git commit `{record["commit"] or "none"}` |
| held-out loss | {heldout} |

{_epochs(record)}""",
    )
