"""The trainer: a run's parts put together, and the loop over epochs, accumulation groups and micro-batches."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from accelerate import Accelerator
from diffusers import StableDiffusionPipeline
from torch import Tensor, nn

from anime_lora.config.train import Train
from anime_lora.diffusion import device
from anime_lora.diffusion.rng import seed_from
from anime_lora.diffusion.tensor_file import serialize
from anime_lora.errors import TrainingError
from anime_lora.files import write_bytes
from anime_lora.lora import adapter as lora
from anime_lora.lora.fused_layers import fuse
from anime_lora.progress import Progress
from anime_lora.training import losses, optim
from anime_lora.training.batch import Batch, BatchBuilder, Example, TrainingImage, epoch_examples, in_groups, of_split
from anime_lora.training.checkpoint import Checkpoints, SkippedStep, StepResult, TrainingState
from anime_lora.training.latent_cache import LatentCache
from anime_lora.training.processes import Stop, StopRequestedError, own_share, sum_gradients
from anime_lora.training.selection import out_of_patience
from anime_lora.training.text_embeddings import TextEmbeddings
from anime_lora.training.validation import Sampler, Validator

LARGE = 2**23
"""Weights of a convolution from which oneDNN takes up to twice as long with channels_last: more than a cache holds."""


def prepare_pipeline(pipe: StableDiffusionPipeline, settings: Train, place: torch.device) -> StableDiffusionPipeline:
    """`pipe` in eval mode on `place`: base frozen, adapters attached, attention backend and memory layout set."""
    # channels_last: convolutions were 1.5x faster so, on CPU (oneDNN) as on tensor cores; not LARGE ones on a CPU
    pipe.unet.to(memory_format=torch.channels_last)  # before the adapters: DoRA needs theirs contiguous
    if place.type == "cpu":
        _keep_large_contiguous(pipe.unet)
    lora.attach(pipe.unet, pipe.text_encoder, settings)
    for module in (pipe.unet, pipe.vae, pipe.text_encoder):
        module.to(place).eval()
    if settings.attention == "xformers":
        pipe.unet.enable_xformers_memory_efficient_attention()
    if settings.gradient_checkpointing:
        pipe.unet.enable_gradient_checkpointing()
        if settings.text_encoder_learning_rate is not None:
            pipe.text_encoder.gradient_checkpointing_enable()
    if settings.compile:
        pipe.unet.compile_repeated_blocks()
    elif settings.precision == "fp32" and not settings.dora and settings.dropout == 0:
        fuse(pipe.unet)
        fuse(pipe.text_encoder)
    return pipe


def _keep_large_contiguous(unet: nn.Module) -> None:
    """Weights and inputs of large convolutions in the usual layout."""
    for module in unet.modules():
        if isinstance(module, nn.Conv2d) and module.weight.numel() >= LARGE:
            module.weight.data = module.weight.data.contiguous()
            module.register_forward_pre_hook(lambda _, inputs: (inputs[0].contiguous(),))


def adapter_file(folder: Path, epoch: int) -> Path:
    """Where the work folder keeps an epoch's adapter (fp32, PEFT names)."""
    return folder / "epochs" / f"epoch-{epoch:02d}.safetensors"


class Trainer:
    """One training run.

    `fit` is the loop, `step` one optimizer step, `loss` the forward pass; `state` says how far the run is.

    Args:
        pipe: the base with adapters attached, as `prepare_pipeline` gives it.
        settings: the train section.
        accelerator: device, processes and precision.
        latents: the latent cache; images that are not in it yet are encoded when they are first needed.
        images: those to train on, those held out, and class images.
        folder: the work folder: checkpoints, epochs' adapters, validation images.
        fingerprint: what the run's result follows from; only its own checkpoints are resumed.
        name: the adapter file's name, by which a webui's prompt will call it.
        stop: is asked for after each step; a requested stop leaves a checkpoint.
    """

    def __init__(
        self,
        pipe: StableDiffusionPipeline,
        settings: Train,
        accelerator: Accelerator,
        latents: LatentCache,
        images: Sequence[TrainingImage],
        *,
        folder: Path,
        fingerprint: str,
        name: str,
        stop: Stop,
    ) -> None:
        self.pipe, self.settings, self.accelerator = pipe, settings, accelerator
        self.latents, self.folder, self.stop = latents, folder, stop
        self.train_images, self.class_images = of_split(images, "train"), of_split(images, "prior")
        self.trains_text_encoder = settings.text_encoder_learning_rate is not None
        self.text_embeddings = TextEmbeddings(pipe.tokenizer, pipe.text_encoder, self.trains_text_encoder)
        self.batches = BatchBuilder(settings, latents.get, pipe, accelerator.device)
        trained = [lora.trainables(module) for module in (pipe.unet, pipe.text_encoder)]
        self.optimizer = optim.build_optimizer(settings, *trained)
        # the order of the optimizer's groups: the norm that clips is a sum, and its last digits depend on the order
        self.parameters = [parameter for group in self.optimizer.param_groups for parameter in group["params"]]
        weights = [parameter for named in trained for parameter in named.values()]
        self.ema = optim.EMA(weights, settings.ema_decay) if settings.ema_decay else None
        self.sampler = Sampler(pipe, settings, accelerator, latents.resolution, stop)
        self.validator = Validator(self.sampler, self.batches, images, folder, name)
        self.checkpoints = Checkpoints(folder, fingerprint, settings.keep_checkpoints)
        self.state = TrainingState()

    @property
    def group_size(self) -> int:
        """Images per optimizer step, whatever the number of processes."""
        return self.settings.batch_size * self.settings.gradient_accumulation_steps

    @property
    def total_steps(self) -> int:
        """Optimizer steps of the whole run, were it not to stop early; the short last one of each epoch included."""
        return self.settings.epochs * -(-len(self.train_images) // self.group_size)

    def epoch_groups(self, epoch: int) -> list[list[Example]]:
        """The accumulation groups of epoch `epoch`, in order."""
        examples = epoch_examples(
            self.train_images, self.class_images, self.settings.seed, epoch, self.settings.prior_share
        )
        return in_groups(examples, self.group_size)

    def fit(self) -> None:
        """Train from where `state` stands to the last epoch, or the early stop; validate and save after each.

        Raises:
            StopRequestedError: a stop was requested; a checkpoint is saved.
            TrainingError: the run cannot go on.
        """
        settings, state = self.settings, self.state
        try:
            if not state.epochs:
                self.validate()  # the untrained base, as epoch 0
            with Progress("train", "train", self.total_steps, unit="step", done=state.step) as progress:
                while state.epoch < settings.epochs and not state.stopped_early:
                    epoch_groups = self.epoch_groups(state.epoch)
                    self.train_mode()
                    for group in epoch_groups[state.group :]:
                        result = self.step(group)
                        progress.update(1, epoch=result.epoch, loss=result.loss, lr=result.lr)
                        self.stop.check()
                        # the epoch's last group is saved below, after validation
                        if state.step % settings.checkpoint_every == 0 and state.group < len(epoch_groups):
                            self.save_checkpoint()
                    self.validate()
                    self.save_checkpoint()
        except StopRequestedError:
            self.save_checkpoint()
            raise

    def step(self, group: Sequence[Example]) -> StepResult:
        """One optimizer step on one accumulation group; counts it in `state` and returns its row of the loss table.

        The gradient is the mean over the group's images, however they fall into micro-batches and processes.
        A loss or gradient that is not finite skips the update.

        Raises:
            TrainingError: too many skipped steps in a row.
        """
        settings, state, scaler = self.settings, self.state, self.accelerator.scaler
        factor = optim.rate_factor(state.step, self.total_steps, settings.schedule, settings.warmup_steps)
        rate = optim.set_rate(self.optimizer, factor)
        self.optimizer.zero_grad(set_to_none=True)

        loss = torch.zeros((), device=self.accelerator.device)
        for micro in in_groups(own_share(self.accelerator, group), settings.batch_size):
            with self.dropout_rng(micro):
                # divided by the images in the whole group: a short last micro-batch counts less
                part = self.loss(self.batches.build(micro)).sum() / len(group)
                (part if scaler is None else scaler.scale(part)).backward()
            loss += part.detach()
        loss = sum_gradients(self.accelerator, self.parameters, loss, self.stop)

        if scaler is not None:
            scaler.unscale_(self.optimizer)
        norm = torch.nn.utils.clip_grad_norm_(self.parameters, settings.max_grad_norm)
        loss_value, norm_value = torch.stack([loss, norm.to(loss.device)]).tolist()  # waits for the GPU once a step
        finite = math.isfinite(loss_value) and math.isfinite(norm_value)
        if finite:
            self.optimizer.step() if scaler is None else scaler.step(self.optimizer)
            if self.ema is not None:
                self.ema.update()
        if scaler is not None:
            scaler.update()

        result = StepResult(state.step + 1, state.epoch + 1, loss_value if finite else None, rate)
        state.end_step(result)
        if finite:
            state.skipped_in_row = 0
        else:
            # fp16 overflows now and then while the loss scale settles; that is not a fault of the images
            settling = scaler is not None and math.isfinite(loss_value) and scaler.get_scale() > 1
            self.skip(group, settling)
        return result

    def loss(self, batch: Batch) -> Tensor:
        """The weighted loss of each sample, (n,): squared error of what the UNet predicts for its noisy latent."""
        dtype = device.DTYPES[self.settings.precision]  # asking the UNet walks through all of its modules
        noisy = batch.noisy.to(dtype).contiguous(memory_format=torch.channels_last)
        with device.autocast(self.accelerator, self.settings):
            conditioning = self.text_embeddings(batch.captions).to(dtype)
            prediction: Tensor = self.pipe.unet(noisy, batch.timesteps, conditioning, return_dict=False)[0]
        return losses.squared_error(prediction, batch.target) * batch.weights

    @contextmanager
    def dropout_rng(self, examples: Sequence[Example]) -> Iterator[None]:
        """Adapter dropout reads torch's global generators: within the block they follow from the micro-batch."""
        if self.settings.dropout == 0:
            yield
            return
        here = self.accelerator.device
        ids = (example.image.id for example in examples)
        with torch.random.fork_rng(devices=[here] if here.type == "cuda" else []):
            torch.manual_seed(seed_from("dropout", self.settings.seed, examples[0].epoch, *ids))
            yield

    def skip(self, group: Sequence[Example], settling: bool) -> None:
        """Record a step without an update, with its images and timesteps; `settling` ones do not count.

        Raises:
            TrainingError: `train.max_bad_steps` in a row.
        """
        state, samples = self.state, self.batches.samples(group)
        images = [sample.image.name for sample in samples]
        state.skipped.append(SkippedStep(state.step, images, [self.batches.timestep(each) for each in samples]))
        state.skipped_in_row += 0 if settling else 1
        print(f"step {state.step}: loss or gradient is not finite, update skipped ({state.skipped[-1]})", flush=True)
        if state.skipped_in_row >= self.settings.max_bad_steps:
            listed = "\n".join(f"  step {each.step}: {each}" for each in state.skipped[-state.skipped_in_row :])
            raise TrainingError(
                f"{state.skipped_in_row} steps in a row had no finite loss or gradient (limit train.max_bad_steps); "
                f"lower train.learning_rate or look at these images:\n{listed}"
            )

    def validate(self) -> None:
        """Validate the epoch that has just been trained, or the untrained base as epoch 0, and count it in `state`.

        A stop requested meanwhile leaves `state` as it was: validation is done again on resume.
        """
        state, epoch = self.state, len(self.state.epochs)
        main = self.accelerator.is_main_process
        with self.eval_mode():
            result = self.validator.validate(epoch, state.step, self.loss)
            if main:
                write_bytes(adapter_file(self.folder, epoch), serialize(self.adapter(), {}))
        self.accelerator.wait_for_everyone()
        # counted only now: a stop or a kill before this line repeats the whole validation
        state.end_epoch(result)
        state.files |= self.checkpoints.epoch_files(epoch) if main else {}
        state.stopped_early = out_of_patience(state.epochs, self.settings.patience)
        if main:
            print(f"epoch {epoch}: {result}", flush=True)

    def train_mode(self, on: bool = True) -> None:
        """Dropout and gradient checkpointing on or off."""
        self.pipe.unet.train(on)
        if self.trains_text_encoder:
            self.pipe.text_encoder.train(on)

    @contextmanager
    def eval_mode(self) -> Iterator[None]:
        """Eval mode without gradients, on the moving average where there is one; all as before afterwards."""
        if self.ema is not None:
            self.ema.swap()
        self.train_mode(False)
        try:
            with torch.no_grad():
                yield
        finally:
            self.train_mode()
            if self.ema is not None:
                self.ema.swap()

    def adapter(self) -> dict[str, Tensor]:
        """A copy of the adapters, by PEFT's names."""
        return lora.adapter_state(self.pipe.unet, self.pipe.text_encoder)

    def save_checkpoint(self) -> None:
        """Write a checkpoint (first process only) and delete old ones; the others wait."""
        if self.accelerator.is_main_process:
            scaler = self.accelerator.scaler
            tensors = {
                "adapter": self.adapter(),
                "optimizer": self.optimizer.state_dict(),
                "average": self.ema.state_dict() if self.ema is not None else None,
                "scaler": scaler.state_dict() if scaler is not None else None,
            }
            self.checkpoints.save(tensors, self.state)
        self.accelerator.wait_for_everyone()

    def resume(self) -> None:
        """Put the newest good checkpoint back; without one the run starts anew."""
        tensors = self.checkpoints.load(self.state, self.accelerator.device)
        if tensors is None:
            return
        lora.load_adapter_state(self.pipe.unet, self.pipe.text_encoder, tensors["adapter"])
        self.optimizer.load_state_dict(tensors["optimizer"])
        if self.ema is not None:
            self.ema.load_state_dict(tensors["average"])
        if self.accelerator.scaler is not None:
            self.accelerator.scaler.load_state_dict(tensors["scaler"])
        if self.accelerator.is_main_process:
            print(f"going on from step {self.state.step} of {self.total_steps}", flush=True)
