"""Whether a training makes sense, checked on settings and captions alone, before the base is loaded."""

from collections.abc import Iterator, Sequence

from anime_lora.config.section import Concept
from anime_lora.config.train import Train
from anime_lora.errors import TrainingError
from anime_lora.lora.adapter import scale
from anime_lora.training.batch import TrainingImage, of_split

MAX_RATE = 0.05
"""Effective rate that no adapter survives: AdamW moves each weight by about the rate, so 20 steps make B ≈ 1."""
HIGH_RATE, LOW_RATE = 5e-3, 1e-6
"""Effective rates outside which a run seldom ends well."""
FEW_STEPS = 20


def rates(settings: Train) -> dict[str, float]:
    """The learning rates of what is trained, by the names of their settings."""
    names = ("learning_rate", "text_encoder_learning_rate")
    return {f"train.{name}": getattr(settings, name) for name in names if getattr(settings, name) is not None}


def effective_rates(settings: Train) -> dict[str, float]:
    """learning rate · alpha / rank (rsLoRA: √rank): how fast ΔW moves, comparable across ranks and alphas."""
    factor = scale(settings.rank, settings.alpha, settings.rslora)
    return {name: rate * factor for name, rate in rates(settings).items()}


def total_steps(settings: Train, images: Sequence[TrainingImage]) -> int:
    """Optimizer steps of the whole run."""
    group = settings.batch_size * settings.gradient_accumulation_steps
    return settings.epochs * -(-len(of_split(images, "train")) // group)


def check_training(settings: Train, concept: Concept, images: Sequence[TrainingImage]) -> None:
    """Stop a training that cannot succeed.

    Raises:
        TrainingError: one line per reason, each with the setting, its value, the limit and what to do.
    """
    reasons = list(_errors(settings, concept, images))
    if reasons:
        plural = "reason" if len(reasons) == 1 else "reasons"
        raise TrainingError(
            f"this training cannot succeed, for {len(reasons)} {plural}\n" + "\n".join(f"  {r}" for r in reasons)
        )


def _errors(settings: Train, concept: Concept, images: Sequence[TrainingImage]) -> Iterator[str]:
    train, steps = of_split(images, "train"), total_steps(settings, images)
    for name, rate in effective_rates(settings).items():
        if settings.optimizer != "prodigy" and rate > MAX_RATE:
            yield (
                f"{name} x alpha / rank = {rate:g} is above {MAX_RATE}, where training diverges: "
                f"lower {name} (1e-4 to 1e-3 is usual) or train.alpha"
            )
    if settings.optimizer == "prodigy" and len(set(rates(settings).values())) > 1:
        yield (
            f"train.text_encoder_learning_rate = {settings.text_encoder_learning_rate:g} differs from "
            f"train.learning_rate = {settings.learning_rate:g}, but prodigy finds one rate for both: make them equal"
        )
    if settings.warmup_steps >= steps:
        yield (
            f"train.warmup_steps = {settings.warmup_steps}, but the run has {steps} steps: the learning rate would "
            "never be reached; lower it or raise train.epochs"
        )
    if settings.caption_dropout == 1:
        yield "train.caption_dropout = 1.0 empties every caption: no word would be learned; 0.1 is usual"
    if not any(concept.trigger in image.text for image in train):
        yield (
            f"concept.trigger = {concept.trigger} is in none of {len(train)} training captions, e.g. "
            f"{train[0].text[:60]!r}: put it into concept.instance_prompt and run the organize stage again"
        )


def training_warnings(settings: Train, concept: Concept, images: Sequence[TrainingImage]) -> list[str]:
    """What is unlikely to be meant, one sentence each; nothing stops for it."""
    return [*_step_warnings(settings, images), *_caption_warnings(settings, concept, images)]


def _step_warnings(settings: Train, images: Sequence[TrainingImage]) -> Iterator[str]:
    train, steps = of_split(images, "train"), total_steps(settings, images)
    group = settings.batch_size * settings.gradient_accumulation_steps
    for name, rate in effective_rates(settings).items():
        if settings.optimizer != "prodigy" and not LOW_RATE <= rate <= HIGH_RATE:
            yield f"{name} x alpha / rank = {rate:g} is outside {LOW_RATE:g} to {HIGH_RATE:g}, the usual range"
    if steps < FEW_STEPS:
        yield f"{steps} optimizer steps hardly move an adapter: raise train.epochs or lower the effective batch"
    if group > len(train):
        yield f"the effective batch of {group} exceeds the {len(train)} training images: each epoch is one step"
    if settings.patience is not None and not (settings.heldout_images and of_split(images, "holdout")):
        yield "train.patience has no effect without held-out images (organize.holdout_share, train.heldout_images)"
    if settings.patience is not None and settings.patience >= settings.epochs:
        yield f"train.patience = {settings.patience} has no effect within {settings.epochs} epochs"


def _caption_warnings(settings: Train, concept: Concept, images: Sequence[TrainingImage]) -> Iterator[str]:
    train, trigger = of_split(images, "train"), concept.trigger
    without = [image for image in train if trigger not in image.text]
    if without:
        yield f"{len(without)} of {len(train)} training captions lack the trigger {trigger}, e.g. {without[0].name}"
    if trigger not in settings.validation_prompt:
        yield f"train.validation_prompt lacks the trigger {trigger}: the images after each epoch will not show it"
    if settings.shuffle_tags and settings.keep_tags == 0:
        yield "train.shuffle_tags with keep_tags 0 moves the trigger about: keep_tags 1 keeps it in front"
    if settings.prior_images and trigger in (settings.prior_prompt or ""):
        yield f"train.prior_prompt holds the trigger {trigger}: class images would teach that it means nothing new"
