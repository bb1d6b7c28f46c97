"""The metadata of a LoRA file that is shared: kohya's `ss_*`, Stability's `modelspec.*`, our lineage; all strings."""

import base64
import io
import json
import os
import subprocess
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from PIL import Image

from anime_lora.config.section import Base, Concept
from anime_lora.config.train import Train
from anime_lora.images import read_rgb
from anime_lora.lora.formats.kohya import written_alpha

THUMBNAIL = 256
"""Side of the thumbnail in pixels, at most."""
OPTIMIZERS = {
    "adamw": "torch.optim.AdamW",
    "adamw8bit": "bitsandbytes.optim.adamw.AdamW8bit",
    "prodigy": "prodigyopt.prodigy.Prodigy",
    "adafactor": "transformers.optimization.Adafactor(scale_parameter=False,relative_step=False,warmup_init=False)",
}


PREDICTION = "modelspec.prediction_type"
PREDICTIONS = {"epsilon": "epsilon", "v": "v_prediction"}
"""What a LoRA file says the UNet predicts, in diffusers' words."""


def stated_prediction(metadata: Mapping[str, str]) -> str | None:
    """What a file says the UNet was trained to predict, in diffusers' words; None where it does not say."""
    return PREDICTIONS.get(metadata.get(PREDICTION, ""))


@dataclass(frozen=True)
class Commit:
    """A Git commit and when it was made, in seconds since 1970."""

    sha: str
    seconds: int


def current_commit(folder: Path = Path()) -> Commit | None:
    """The commit checked out in `folder`; None outside a repository, before the first commit, or without Git."""
    try:
        output = subprocess.run(
            ["git", "log", "-1", "--format=%H %ct"], cwd=folder, capture_output=True, text=True, check=True
        ).stdout.split()
        return Commit(output[0], int(output[1]))
    except (OSError, subprocess.CalledProcessError, IndexError, ValueError):
        return None


@dataclass(frozen=True)
class Lineage:
    """What an adapter was made from: code, dataset, settings and base."""

    version: str
    commit: str | None
    dataset_sha256: str
    params_sha256: str
    base_sha256: str

    def metadata(self) -> dict[str, str]:
        """The lineage under a prefix of our own; no commit outside a repository."""
        values = {
            "version": self.version,
            "git_commit": self.commit,
            "dataset_sha256": self.dataset_sha256,
            "params_sha256": self.params_sha256,
            "base_sha256": self.base_sha256,
        }
        return {f"anime_lora.{key}": value for key, value in values.items() if value is not None}


@dataclass(frozen=True)
class TrainingFacts:
    """What a file's metadata states of the training run and of the epoch whose adapter it holds."""

    settings: Train
    concept: Concept
    base: Base
    captions: Sequence[str]
    """One per training image."""
    prior_images: int
    epoch: int
    steps: int
    """Optimizer steps until the end of `epoch`."""
    total_steps: int
    """Optimizer steps of all epochs of the settings, also where training stopped early."""
    prediction_type: str
    """What the UNet was trained to predict: `epsilon` or `v_prediction`."""
    stable_diffusion_2: bool
    """Whether the base is a Stable Diffusion 2.x (a text encoder of width 1024), not 1.x."""


def model_name(base: Base) -> str:
    """What the base is called in files that are shared: never a machine's path."""
    return Path(base.model).name if Path(base.model).is_absolute() else base.model


def file_metadata(facts: TrainingFacts, lineage: Lineage, strip: Path) -> dict[str, str]:
    """Everything that the file of one epoch says about itself; the thumbnail is the first image of `strip`."""
    return {**kohya_metadata(facts), **model_spec(facts, thumbnail(strip)), **lineage.metadata()}


def kohya_metadata(facts: TrainingFacts) -> dict[str, str]:
    """The keys that kohya's trainer writes and webuis show, as far as they have a meaning here."""
    settings, concept, side = facts.settings, facts.concept, facts.base.resolution
    folder = f"{concept.trigger}_{concept.class_name}"
    values: dict[str, Any] = {
        "ss_v2": facts.stable_diffusion_2,
        "ss_base_model_version": "sd_v2" if facts.stable_diffusion_2 else "sd_v1",
        "ss_network_module": "networks.lora",
        "ss_network_dim": settings.rank,
        "ss_network_alpha": _alpha(settings),
        "ss_network_args": _network_args(settings),
        "ss_output_name": folder,
        "ss_sd_model_name": model_name(facts.base),
        "ss_learning_rate": settings.learning_rate,
        "ss_unet_lr": settings.learning_rate,
        "ss_text_encoder_lr": settings.text_encoder_learning_rate,
        "ss_optimizer": OPTIMIZERS[settings.optimizer],
        "ss_lr_scheduler": settings.schedule,
        "ss_lr_warmup_steps": settings.warmup_steps,
        "ss_steps": facts.steps,
        "ss_max_train_steps": facts.total_steps,
        "ss_epoch": facts.epoch,
        "ss_num_epochs": settings.epochs,
        "ss_total_batch_size": settings.batch_size * settings.gradient_accumulation_steps,
        "ss_batch_size_per_device": settings.batch_size,
        "ss_gradient_accumulation_steps": settings.gradient_accumulation_steps,
        "ss_gradient_checkpointing": settings.gradient_checkpointing,
        "ss_mixed_precision": {"fp32": "no"}.get(settings.precision, settings.precision),
        "ss_seed": settings.seed,
        "ss_clip_skip": None,  # the text encoder's last layer, normalised, as SD 1.x conditions on
        "ss_min_snr_gamma": settings.min_snr_gamma,
        "ss_noise_offset": settings.noise_offset,
        "ss_max_grad_norm": settings.max_grad_norm,
        "ss_caption_dropout_rate": settings.caption_dropout,
        "ss_resolution": f"({side}, {side})",
        "ss_num_train_images": len(facts.captions),
        "ss_num_reg_images": facts.prior_images,
        "ss_dataset_dirs": {folder: {"n_repeats": 1, "img_count": len(facts.captions)}},
        "ss_bucket_info": {"buckets": {"0": {"resolution": [side, side], "count": len(facts.captions)}}},
        "ss_tag_frequency": {folder: tag_frequency(facts.captions)},
    }
    return {key: json.dumps(value) if isinstance(value, dict) else str(value) for key, value in values.items()}


def _network_args(settings: Train) -> dict[str, object]:
    convolution = {"conv_dim": settings.rank, "conv_alpha": _alpha(settings)} if "conv" in settings.target else {}
    return {"target": settings.target, **convolution, "rslora": settings.rslora, "dora": settings.dora}


def _alpha(settings: Train) -> float:
    return written_alpha(settings.rank, settings.alpha, settings.rslora)


def tag_frequency(captions: Sequence[str]) -> dict[str, int]:
    """How often each comma-separated part occurs in the captions, the most frequent first."""
    counts = Counter(tag.strip() for caption in captions for tag in caption.split(",") if tag.strip())
    return dict(sorted(counts.items(), key=lambda pair: (-pair[1], pair[0])))


def model_spec(facts: TrainingFacts, image: str) -> dict[str, str]:
    """Stability's model specification 1.0.1, with the data URI `image` as thumbnail.

    Dated by SOURCE_DATE_EPOCH, else by the commit the run was made from: same inputs, same bytes.
    """
    name, side = f"{facts.concept.trigger} {facts.concept.class_name}", facts.base.resolution
    values = {
        "modelspec.sai_model_spec": "1.0.1",
        "modelspec.architecture": f"stable-diffusion-{'v2-512' if facts.stable_diffusion_2 else 'v1'}/lora",
        "modelspec.implementation": "https://github.com/huggingface/diffusers",
        "modelspec.title": name,
        "modelspec.resolution": f"{side}x{side}",
        PREDICTION: "epsilon" if facts.prediction_type == "epsilon" else "v",
        "modelspec.trigger_phrase": name,
        "modelspec.thumbnail": image,
    }
    seconds = _source_date()
    if seconds is not None:
        values["modelspec.date"] = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return values


def _source_date() -> int | None:
    date, commit = os.environ.get("SOURCE_DATE_EPOCH", ""), current_commit()
    return int(date) if date.isdigit() else (commit.seconds if commit else None)


def thumbnail(strip: Path) -> str:
    """The first image of a sample strip as a JPEG data URI of at most 256 px."""
    row = read_rgb(strip)
    image = row.crop((0, 0, row.height, row.height))
    image.thumbnail((THUMBNAIL, THUMBNAIL), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, "jpeg", quality=85)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
