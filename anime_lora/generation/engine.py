"""Jobs to images: the base with every LoRA that they need, one image at a time on a CPU, batches on a GPU."""

import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from diffusers import StableDiffusionControlNetPipeline
from PIL import Image

from anime_lora.config.section import Base, Compute
from anime_lora.errors import DeviceError, SamplingError
from anime_lora.generation import schedulers
from anime_lora.generation.infotext import Model
from anime_lora.generation.job import Control, Job
from anime_lora.generation.loras import LoraFile
from anime_lora.generation.sources import read_source
from anime_lora.generation.text_encoding import PromptEncoder
from anime_lora.lora.metadata import stated_prediction
from anime_lora.sampling.controlnet import canny_edges
from anime_lora.sampling.generate import noise_generator
from anime_lora.sampling.pipelines import Pipelines

OnStep = Callable[[int], object]


class Engine:
    """A base, the LoRAs of some jobs on it, and what is needed to generate them.

    Args:
        base: which base, and its native size.
        compute: the device.
        jobs: all that will be generated; they share the base and the ControlNet.

    Raises:
        AnimeLoraError: base, LoRA or ControlNet is missing, damaged, or they do not fit each other.
    """

    def __init__(self, base: Base, compute: Compute, jobs: list[Job]) -> None:
        controlnet = next((job.control.controlnet for job in jobs if job.control), None)
        self.pipelines = Pipelines(base, compute, controlnet)
        self._own_scheduler = self.pipelines.text_to_image.scheduler
        self._names: dict[LoraFile, str] = {}
        for lora in dict.fromkeys(choice.lora for job in jobs for choice in job.loras):
            self._names[lora] = f"lora{len(self._names)}"
            self.pipelines.load_lora(lora.file, self._names[lora], lora.name)
        sampler = self.pipelines.sampler
        names = {one.scheduler: name for name, one in reversed(schedulers.SAMPLERS.items())}
        self.model = Model(
            self.pipelines.model, self.pipelines.identity.base, names.get(f"{sampler}Scheduler", sampler)
        )
        for job in jobs:
            self._check(job)

    def _check(self, job: Job) -> None:
        multiple = self.pipelines.text_to_image.vae_scale_factor
        if job.width % multiple or job.height % multiple:
            raise SamplingError(f"--size {job.width}x{job.height}: this base makes sizes in steps of {multiple}")
        PromptEncoder(self.pipelines.text_to_image, job.clip_skip)

    def generate(self, jobs: list[Job], batch_size: int, on_step: OnStep) -> Iterator[tuple[Job, Image.Image]]:
        """Generate jobs, in an order that changes adapters and scheduler seldom.

        Args:
            jobs: some of those given at construction.
            batch_size: images at once on a GPU. On a CPU it is always 1: batches of other sizes round differently, and
                are hardly faster.
            on_step: called with the number of denoising steps done, summed over the images.
        """
        size = 1 if self.pipelines.device == "cpu" else batch_size
        groups: dict[str, list[Job]] = defaultdict(list)
        for job in jobs:
            groups[repr(_kind(job))].append(job)
        for group in groups.values():
            self._set_up(group[0])
            encoder = PromptEncoder(self.pipelines.text_to_image, group[0].clip_skip)
            encoded: dict[int, list[tuple[Job, torch.Tensor, torch.Tensor]]] = defaultdict(list)
            for job in group:
                with torch.inference_mode():
                    positive, negative = encoder(job.prompt, job.negative_prompt)
                encoded[positive.shape[1]].append((job, positive, negative))
            for rows in encoded.values():
                for start in range(0, len(rows), size):
                    yield from self._generate_batch(rows[start : start + size], on_step)

    def _set_up(self, job: Job) -> None:
        """Weights of the LoRAs and the scheduler, for this job and all of its kind."""
        self._set_weights(job)
        scheduler = self._own_scheduler
        prediction = next(filter(None, (stated_prediction(choice.lora.metadata) for choice in job.loras)), None)
        if prediction and prediction != scheduler.config.prediction_type:
            scheduler = type(scheduler).from_config(scheduler.config, prediction_type=prediction)
        if job.scheduler:
            scheduler = schedulers.make(job.scheduler, scheduler)
        self._scheduler = scheduler

    def _set_weights(self, job: Job) -> None:
        weights: dict[str, Any] = {}
        for choice in job.loras:
            text = choice.weight if choice.text_weight is None else choice.text_weight
            if choice.weight or text:
                weights[self._names[choice.lora]] = (
                    choice.weight if text == choice.weight else {"unet": choice.weight, "text_encoder": text}
                )
        self.pipelines.set_weights(weights)

    @torch.inference_mode()
    def _generate_batch(
        self, rows: list[tuple[Job, torch.Tensor, torch.Tensor]], on_step: OnStep
    ) -> Iterator[tuple[Job, Image.Image]]:
        first = rows[0][0]
        arguments: dict[str, Any] = {
            "prompt_embeds": torch.cat([positive for _, positive, _ in rows]),
            "negative_prompt_embeds": torch.cat([negative for _, _, negative in rows]),
            "generator": [noise_generator(job.seed) for job, _, _ in rows],
            "num_inference_steps": first.steps,
            "guidance_scale": first.guidance,
        }
        size = first.width, first.height
        if first.source is not None:
            arguments["image"] = [read_source(job.source, size, job.crop) for job, _, _ in rows if job.source]
            arguments["strength"] = first.strength
        else:
            arguments |= {"width": first.width, "height": first.height}
        if first.control:
            key = "control_image" if first.source is not None else "image"
            arguments[key] = [_edges(job.control, job, size) for job, _, _ in rows if job.control]
            arguments["controlnet_conditioning_scale"] = first.control.scale
        pipe = self._pipeline(first)
        arguments["callback_on_step_end"] = _step_counter(first.denoising_steps, len(rows), on_step)
        with warnings.catch_warnings(), _room_in_memory(first, len(rows)):
            warnings.simplefilter("ignore", FutureWarning)  # diffusers' own, of its schedulers
            images = pipe(**arguments).images
        yield from zip((job for job, _, _ in rows), images, strict=True)

    def _pipeline(self, job: Job) -> Any:
        """The pipeline of this kind of image, with its scheduler."""
        pipelines = self.pipelines
        pipe: Any = pipelines.text_to_image if job.source is None else pipelines.image_to_image
        if job.control:
            pipe = pipelines.controlnet
            assert pipe is not None  # loaded at construction for jobs that have one
            if job.source is None:
                pipe = StableDiffusionControlNetPipeline(**pipe.components, requires_safety_checker=False)
                pipe.set_progress_bar_config(disable=True)
        pipe.scheduler = self._scheduler
        return pipe


@contextmanager
def _room_in_memory(job: Job, images: int) -> Iterator[None]:
    """Turn full memory into one clear error.

    Raises:
        DeviceError: the images do not fit.
    """
    try:
        yield
    except RuntimeError as error:
        # torch's CPU allocator has no exception of its own
        if not isinstance(error, torch.OutOfMemoryError) and "allocate memory" not in str(error):
            raise
        lower = (
            f"--batch {images} or --size {job.width}x{job.height}" if images > 1 else f"--size {job.width}x{job.height}"
        )
        raise DeviceError(f"{lower} does not fit into the memory: lower it") from error


def _kind(job: Job) -> tuple[object, ...]:
    """What the images of one batch share."""
    loras = [(str(choice.lora.file), choice.weight, choice.text_weight) for choice in job.loras]
    control = job.control and (job.control.controlnet, job.control.scale)
    own = job.steps, job.guidance, job.width, job.height, job.scheduler, job.clip_skip, job.strength
    return loras, control, own, job.source is None


def _edges(control: Control, job: Job, size: tuple[int, int]) -> Image.Image:
    if control.image is not None:
        return canny_edges(read_source(control.image, size))
    assert job.source is not None  # `request` sees to it
    return canny_edges(read_source(job.source, size, job.crop))


def _step_counter(steps: int, images: int, on_step: OnStep) -> Callable[..., dict[str, Any]]:
    """diffusers' callback: counts up to `steps` for each image, however many calls the scheduler makes of them."""
    done = 0

    def callback(pipe: Any, step: int, _timestep: Any, values: dict[str, Any]) -> dict[str, Any]:
        nonlocal done
        now = round(steps * (step + 1) / pipe.num_timesteps)
        on_step((now - done) * images)
        done = now
        return values

    return callback
