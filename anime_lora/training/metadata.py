"""What a shared LoRA file says about itself: kohya's `ss_*`, Stability's `modelspec.*`, our lineage; all strings."""

import base64
import io
import json
import os
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from PIL import Image

from anime_lora.config.section import Base, Concept
from anime_lora.config.train import Train
from anime_lora.lora.formats.kohya import written_alpha
from anime_lora.training import commit
from anime_lora.training.images import TrainingImage, of_split
from anime_lora.training.state import State
from anime_lora.training.trainer import Run

THUMBNAIL = 256
"""Side of the thumbnail in pixels, at most."""
OPTIMIZERS = {
    "adamw": "torch.optim.AdamW",
    "adamw8bit": "bitsandbytes.optim.adamw.AdamW8bit",
    "prodigy": "prodigyopt.prodigy.Prodigy",
    "adafactor": "transformers.optimization.Adafactor(scale_parameter=False,relative_step=False,warmup_init=False)",
}


def model_name(base: Base) -> str:
    """What the base is called in files that are shared: never a machine's path."""
    return Path(base.model).name if Path(base.model).is_absolute() else base.model


def describe(run: Run, state: State, epoch: int, concept: Concept, base: Base) -> dict[str, str]:
    """kohya's keys for the adapter of `epoch`."""
    settings, images = run.settings, of_split(run.images, "train")
    steps = next(row["step"] for row in state.epochs if row["epoch"] == epoch)
    second = run.pipe.unet.config.cross_attention_dim == 1024
    folder = f"{concept.trigger}_{concept.class_name}"
    side = run.batches.latents.size
    values: dict[str, Any] = {
        "ss_v2": second,
        "ss_base_model_version": "sd_v2" if second else "sd_v1",
        "ss_network_module": "networks.lora",
        "ss_network_dim": settings.rank,
        "ss_network_alpha": _alpha(settings),
        "ss_network_args": _network_args(settings),
        "ss_output_name": folder,
        "ss_sd_model_name": model_name(base),
        "ss_learning_rate": settings.learning_rate,
        "ss_unet_lr": settings.learning_rate,
        "ss_text_encoder_lr": settings.text_encoder_learning_rate,
        "ss_optimizer": OPTIMIZERS[settings.optimizer],
        "ss_lr_scheduler": settings.schedule,
        "ss_lr_warmup_steps": settings.warmup_steps,
        "ss_steps": steps,
        "ss_max_train_steps": run.total_steps,
        "ss_epoch": epoch,
        "ss_num_epochs": settings.epochs,
        "ss_total_batch_size": run.group_size,
        "ss_batch_size_per_device": settings.batch_size,
        "ss_gradient_accumulation_steps": settings.gradient_accumulation_steps,
        "ss_gradient_checkpointing": settings.gradient_checkpointing,
        "ss_mixed_precision": {"fp32": "no"}.get(settings.precision, settings.precision),
        "ss_seed": settings.seed,
        "ss_clip_skip": None,
        "ss_min_snr_gamma": settings.min_snr_gamma,
        "ss_noise_offset": settings.noise_offset,
        "ss_max_grad_norm": settings.max_grad_norm,
        "ss_caption_dropout_rate": settings.caption_dropout,
        "ss_resolution": f"({side}, {side})",
        "ss_num_train_images": len(images),
        "ss_num_reg_images": len(of_split(run.images, "prior")),
        "ss_dataset_dirs": {folder: {"n_repeats": 1, "img_count": len(images)}},
        "ss_bucket_info": {"buckets": {"0": {"resolution": [side, side], "count": len(images)}}},
        "ss_tag_frequency": {folder: tag_frequency(images)},
    }
    return {key: _text(value) for key, value in values.items()}


def _network_args(settings: Train) -> dict[str, Any]:
    convolution = {"conv_dim": settings.rank, "conv_alpha": _alpha(settings)} if "conv" in settings.target else {}
    return {"target": settings.target, **convolution, "rslora": settings.rslora, "dora": settings.dora}


def _alpha(settings: Train) -> float:
    return written_alpha(settings.rank, settings.alpha, settings.rslora)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value) if isinstance(value, dict) else str(value)


def tag_frequency(images: list[TrainingImage]) -> dict[str, int]:
    """How often each comma-separated part occurs in the captions, the most frequent first."""
    counts = Counter(tag.strip() for image in images for tag in image.text.split(",") if tag.strip())
    return dict(sorted(counts.items(), key=lambda pair: (-pair[1], pair[0])))


def model_spec(run: Run, concept: Concept, strip: Path) -> dict[str, str]:
    """Stability's model specification 1.0.1.

    Dated by SOURCE_DATE_EPOCH, else by the commit the run was made from: same inputs, same bytes.
    """
    second = run.pipe.unet.config.cross_attention_dim == 1024
    side = run.batches.latents.size
    values = {
        "modelspec.sai_model_spec": "1.0.1",
        "modelspec.architecture": "stable-diffusion-v2-512/lora" if second else "stable-diffusion-v1/lora",
        "modelspec.implementation": "https://github.com/huggingface/diffusers",
        "modelspec.title": f"{concept.trigger} {concept.class_name}",
        "modelspec.resolution": f"{side}x{side}",
        "modelspec.prediction_type": "epsilon" if run.batches.prediction == "epsilon" else "v",
        "modelspec.trigger_phrase": f"{concept.trigger} {concept.class_name}",
        "modelspec.thumbnail": thumbnail(strip),
    }
    moment = _moment()
    if moment is not None:
        values["modelspec.date"] = datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return values


def _moment() -> int | None:
    asked, here = os.environ.get("SOURCE_DATE_EPOCH", ""), commit.current()
    return int(asked) if asked.isdigit() else (here.seconds if here else None)


def thumbnail(strip: Path) -> str:
    """The first image of a sample strip as a JPEG data URI of at most 256 px."""
    with Image.open(strip) as opened:
        side = opened.height
        image = opened.crop((0, 0, side, side)).convert("RGB")
    image.thumbnail((THUMBNAIL, THUMBNAIL), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, "jpeg", quality=85)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()


def lineage(facts: dict[str, Any]) -> dict[str, str]:
    """What the adapter was made from, under a prefix of our own; `facts` as in the run's record."""
    made_by = {"anime_lora.git_commit": facts["commit"]} if facts["commit"] else {}
    return {
        "anime_lora.version": facts["version"],
        **made_by,
        "anime_lora.dataset_sha256": facts["dataset"]["sha256"],
        "anime_lora.params_sha256": facts["params_sha256"],
        "anime_lora.base_sha256": facts["base"]["weights_sha256"],
    }
