"""ComfyUI's workflow in an image, as far as it is one sampler with two prompts and a chain of LoRAs."""

import json
from typing import Any

from anime_lora.errors import SamplingError
from anime_lora.generation.infotext import Infotext

SAMPLERS = {"KSampler", "KSamplerAdvanced"}
SPACINGS = {"karras": "Karras", "exponential": "Exponential"}
TOO_COMPLEX = (
    "its ComfyUI workflow is more than one KSampler with a text each for positive and negative: "
    "give --prompt, --seed, --steps and the rest yourself"
)


def read(text: str) -> Infotext:
    """A workflow (PNG text `prompt`) in A1111's terms.

    Raises:
        SamplingError: it cannot be read so.
    """
    try:
        nodes = json.loads(text)
        (sampler,) = (node["inputs"] for node in nodes.values() if node["class_type"] in SAMPLERS)
        prompt = _text(nodes, sampler["positive"]) + "".join(_lora_tags(nodes, sampler["model"]))
        settings = {
            "Steps": sampler["steps"],
            "Sampler": sampler["sampler_name"],
            "Schedule type": SPACINGS.get(sampler["scheduler"], ""),
            "CFG scale": sampler["cfg"],
            "Seed": sampler.get("seed", sampler.get("noise_seed")),
            "RNG": "CPU",
            **_size(nodes, sampler["latent_image"]),
            **_checkpoint(nodes, sampler["model"]),
        }
        if float(sampler.get("denoise", 1)) < 1:
            settings["Denoising strength"] = sampler["denoise"]
        negative = _text(nodes, sampler["negative"])
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError) as error:
        raise SamplingError(TOO_COMPLEX) from error
    return Infotext(prompt, negative, {name: str(value) for name, value in settings.items() if value not in {"", None}})


def _node(nodes: dict[str, Any], link: list[Any]) -> dict[str, Any]:
    """The node that an input is linked to."""
    node: dict[str, Any] = nodes[link[0]]
    return node


def _text(nodes: dict[str, Any], link: list[Any]) -> str:
    node = _node(nodes, link)
    text = node["inputs"]["text"]
    if node["class_type"] != "CLIPTextEncode" or not isinstance(text, str):
        raise ValueError("a prompt that other nodes make")
    return text


def _lora_tags(nodes: dict[str, Any], link: list[Any]) -> list[str]:
    """The tags of the LoRAs between the checkpoint and the sampler, in the order in which they are loaded."""
    tags: list[str] = []
    while (node := _node(nodes, link))["class_type"] in {"LoraLoader", "LoraLoaderModelOnly"}:
        inputs = node["inputs"]
        name = str(inputs["lora_name"]).replace("\\", "/").rpartition("/")[2].removesuffix(".safetensors")
        text_weight = inputs.get("strength_clip", inputs["strength_model"])
        tags.insert(0, f" <lora:{name}:{text_weight}:{inputs['strength_model']}>")
        link = inputs["model"]
    return tags


def _checkpoint(nodes: dict[str, Any], link: list[Any]) -> dict[str, str]:
    node = _node(nodes, link)
    while "ckpt_name" not in node["inputs"]:
        node = _node(nodes, node["inputs"]["model"])
    return {"Model": str(node["inputs"]["ckpt_name"]).removesuffix(".safetensors")}


def _size(nodes: dict[str, Any], link: list[Any]) -> dict[str, str]:
    """Width and height of an empty latent; an image that is encoded has its own."""
    inputs = _node(nodes, link)["inputs"]
    return {"Size": f"{inputs['width']}x{inputs['height']}"} if "width" in inputs else {}
