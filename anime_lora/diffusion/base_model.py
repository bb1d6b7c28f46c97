"""The base model: where it lies, whether it can be used, its hash, and the pipeline made of it.

Only safetensors weights are read, never a pickle. The messages begin with `base.model`, the setting to change.
"""

import hashlib
import json
import re
from pathlib import Path

import httpx
import torch
from diffusers import StableDiffusionPipeline
from diffusers.utils import logging as diffusers_logging
from huggingface_hub import constants, snapshot_download
from transformers import CLIPTokenizer
from transformers.utils import logging as transformers_logging

from anime_lora.config.section import Base
from anime_lora.diffusion.weight_file import PICKLED, read_header
from anime_lora.errors import AdapterError, BaseModelError
from anime_lora.files import sha256_file

MIRRORS = {"runwayml/stable-diffusion-v1-5": "stable-diffusion-v1-5/stable-diffusion-v1-5"}
"""Hub repositories that were taken down, and the copy that is maintained."""
CONFIGS_FROM = "stable-diffusion-v1-5/stable-diffusion-v1-5"
"""Where configs and tokenizer of a single-file checkpoint come from when no folder of its name lies beside it."""
WEIGHTS = {
    "text_encoder": "model",
    "unet": "diffusion_pytorch_model",
    "vae": "diffusion_pytorch_model",
}
"""The parts that are loaded, and how their weight files begin."""
HOW_TO_CONVERT = (
    "a pickle can run code when it is opened; convert it on a machine you can afford to lose: "
    "StableDiffusionPipeline.from_single_file(FILE).save_pretrained(FOLDER, safe_serialization=True), "
    "then set base.model to FOLDER"
)


def locate(base: Base) -> Path:
    """The local folder or `.safetensors` file behind `base.model`; a hub id is downloaded into the hub's cache.

    Raises:
        BaseModelError: nothing there, a pickle, parts missing, or another hash than `base.revision` asks for.
    """
    path = Path(base.model)
    if path.suffix in PICKLED:
        raise BaseModelError(f"base.model {base.model} is a pickled checkpoint and is refused: {HOW_TO_CONVERT}")
    if not path.exists() and _is_hub_id(base.model):
        return _check(_download(base))
    if not path.exists():
        raise BaseModelError(
            f"base.model {base.model} is not there: give a diffusers folder, a hub id or a .safetensors file"
        )
    _check(path)
    if base.revision is not None and not weights_hash(path).startswith(base.revision):
        raise BaseModelError(
            f"base.model {base.model} has the weights {weights_hash(path)[:12]}, "
            f"but base.revision asks for {base.revision}: correct one of the two"
        )
    return path


def _is_hub_id(name: str) -> bool:
    return re.fullmatch(r"[\w-][\w.-]*/[\w.-]+", name) is not None and not Path(name.split("/", maxsplit=1)[0]).exists()


def _download(base: Base) -> Path:
    repository = MIRRORS.get(base.model, base.model)
    if repository != base.model:
        print(f"base.model {base.model} is gone from the hub: using its mirror {repository}", flush=True)
    patterns = ["model_index.json", "scheduler/*", "tokenizer/*", *(f"{part}/config.json" for part in WEIGHTS)]
    patterns += [f"{part}/{stem}.safetensors" for part, stem in WEIGHTS.items()]
    try:
        return Path(snapshot_download(repository, revision=base.revision, allow_patterns=patterns))
    except (OSError, ValueError, httpx.HTTPError) as error:
        raise BaseModelError(
            f"base.model {base.model} (revision {base.revision or 'main'}) cannot be reached on the hub, and the cache "
            f"{constants.HF_HUB_CACHE} does not hold it ({type(error).__name__}). Offline: run "
            f"`hf download {repository} --local-dir FOLDER` where there is a network, then set base.model to FOLDER"
        ) from error


def _check(path: Path) -> Path:
    """`path`, when it is a safetensors file or a Stable Diffusion folder with safetensors weights."""
    if path.is_file():
        if path.suffix != ".safetensors":
            raise BaseModelError(
                f"base.model {path}: a single file must be .safetensors, not {path.suffix or 'nameless'}"
            )
        try:
            read_header(path)
        except AdapterError as error:
            how = f": {HOW_TO_CONVERT}" if "a pickle" in str(error) else ""
            raise BaseModelError(f"base.model {error}{how}") from error
        return path
    index = path / "model_index.json"
    if not index.is_file():
        raise BaseModelError(f"base.model {path} has no model_index.json: it is not a diffusers folder")
    try:
        name = str(json.loads(index.read_text(encoding="utf-8")).get("_class_name"))
    except (ValueError, AttributeError) as error:
        raise BaseModelError(f"base.model {path}: model_index.json is damaged; copy the folder again") from error
    if not name.startswith("StableDiffusion") or "XL" in name or name.startswith("StableDiffusion3"):
        raise BaseModelError(f"base.model {path} is a {name}: only Stable Diffusion 1.x and 2.x folders can be trained")
    for part in WEIGHTS:
        weight_files(path, part)
    return path


def weight_files(folder: Path, part: str) -> list[Path]:
    """The safetensors files of one component: the plain ones, else the fp16 variant."""
    stem = WEIGHTS[part]
    for pattern in (f"{stem}.safetensors", f"{stem}-*.safetensors", f"{stem}.fp16*.safetensors"):
        files = sorted((folder / part).glob(pattern))
        if files:
            return files
    pickled = sorted(file.name for file in (folder / part).glob("*") if file.suffix in PICKLED)
    if pickled:
        raise BaseModelError(
            f"base.model {folder}: {part} holds only pickled weights ({pickled[0]}), refused: {HOW_TO_CONVERT}"
        )
    raise BaseModelError(f"base.model {folder}: {part}/{stem}.safetensors is missing; copy the folder again")


def weights_hash(path: Path) -> str:
    """Hex sha256 over the weights that would be loaded: name and content, in sorted order; configs do not count."""
    files = [path] if path.is_file() else [file for part in WEIGHTS for file in weight_files(path, part)]
    lines = (f"{'' if path.is_file() else file.relative_to(path).as_posix()}:{sha256_file(file)}\n" for file in files)
    return hashlib.sha256("".join(sorted(lines)).encode()).hexdigest()


def configs_hash(path: Path) -> str:
    """Hex sha256 over a folder's configs, scheduler and tokenizer files; of nothing for a single file."""
    files = [] if path.is_file() else [file for file in path.rglob("*") if file.suffix in {".json", ".txt"}]
    lines = (f"{file.relative_to(path).as_posix()}:{sha256_file(file)}\n" for file in files)
    return hashlib.sha256("".join(sorted(lines)).encode()).hexdigest()


def load_pipeline(path: Path, dtype: torch.dtype = torch.float32) -> StableDiffusionPipeline:
    """The pipeline at `path` on the CPU, in eval mode: VAE in fp32, the rest in `dtype`, no safety checker.

    Raises:
        BaseModelError: a part cannot be read or does not fit its config.
    """
    diffusers_logging.disable_progress_bar()
    transformers_logging.disable_progress_bar()
    try:
        pipe = _from_file(path, dtype) if path.is_file() else _from_folder(path, dtype)
    except Exception as error:
        raise BaseModelError(f"base.model {path} cannot be loaded: {' '.join(str(error).split())[:300]}") from error
    pipe.set_progress_bar_config(disable=True)
    for module in (pipe.unet, pipe.vae, pipe.text_encoder):
        module.eval().requires_grad_(False)
    if pipe.vae.dtype != torch.float32:  # from_single_file takes one dtype for all parts
        pipe.vae.to(torch.float32)
    return pipe


def load_tokenizer(path: Path) -> CLIPTokenizer:
    """The tokenizer of the base at `path`, as `locate` gives it; of a single file that of the folder beside it.

    Raises:
        BaseModelError: it cannot be read.
    """
    folder = path.with_suffix("") if path.is_file() else path
    try:
        tokenizer: CLIPTokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer", local_files_only=True)
    except Exception as error:  # of transformers, tokenizers and json
        raise BaseModelError(f"base.model {path}: its tokenizer cannot be read from {folder / 'tokenizer'}") from error
    return tokenizer


def _from_folder(path: Path, dtype: torch.dtype) -> StableDiffusionPipeline:
    plain = (path / "unet" / f"{WEIGHTS['unet']}.safetensors").exists() or not list(path.glob("unet/*.fp16*"))
    return StableDiffusionPipeline.from_pretrained(
        path,
        dtype={"unet": dtype, "text_encoder": dtype, "vae": torch.float32, "default": dtype},
        use_safetensors=True,
        local_files_only=True,
        variant=None if plain else "fp16",
        safety_checker=None,
        feature_extractor=None,
        image_encoder=None,
        requires_safety_checker=False,
    )


def _from_file(path: Path, dtype: torch.dtype) -> StableDiffusionPipeline:
    folder = path.with_suffix("")
    config = str(folder) if (folder / "model_index.json").is_file() else CONFIGS_FROM
    try:
        return StableDiffusionPipeline.from_single_file(
            str(path), config=config, dtype=dtype, safety_checker=None, requires_safety_checker=False
        )
    except OSError as error:
        raise BaseModelError(
            f"its configs and tokenizer come from {config}, which cannot be read ({type(error).__name__}): put a "
            f"diffusers folder with them at {folder} (weights are not needed there)"
        ) from error
