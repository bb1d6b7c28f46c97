from dataclasses import replace
from pathlib import Path

import pytest

from anime_lora.generation import comfy, infotext
from anime_lora.generation.infotext import Infotext, Model
from anime_lora.generation.job import Job
from anime_lora.generation.loras import LoraChoice, LoraFile

JOB = Job(
    base="b", prompt="a (girl:1.2), \\(x\\)", negative_prompt="bad", seed=7, steps=20, guidance=7.5,
    width=256, height=128,
)  # fmt: skip
MODEL = Model("pocket", "0123456789abcdef", "DDIM")
A1111 = """masterpiece, 1girl,
(smile:1.2) <lora:style:0.8>
Negative prompt: lowres, bad
hands
Steps: 28, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 7, Seed: 123, Size: 512x768, Model hash: 6ce0161689, \
Model: v1-5, Clip skip: 2, Lora hashes: "style: 0123456789ab, other: ba9876543210", Version: v1.10.1"""


def test_what_is_written_is_read_again(lora_file: Path) -> None:
    job = replace(
        JOB,
        scheduler="DPM++ 2M Karras",
        clip_skip=2,
        loras=(LoraChoice(LoraFile(lora_file), 0.8),),
        source=Path("a, b.png"),
        strength=0.65,
    )
    info = infotext.read(infotext.write(job, MODEL, "f" * 64))
    assert info.prompt == "a (girl:1.2), \\(x\\) <lora:pytorch_lora_weights:0.8>"
    assert info.negative_prompt == "bad"
    settings = info.settings
    assert (settings["Sampler"], settings["Schedule type"], settings["Clip skip"]) == ("DPM++ 2M", "Karras", "2")
    assert (settings["Source"], settings["Source hash"], settings["Denoising strength"]) == (
        "a, b.png",
        "f" * 12,
        "0.65",
    )
    assert infotext.lora_hashes(info) == {"pytorch_lora_weights": LoraFile(lora_file).sha256[:12]}


def test_an_image_without_negative_prompt_or_lora_says_so() -> None:
    lines = infotext.write(replace(JOB, negative_prompt=""), MODEL).splitlines()
    assert lines[0] == JOB.prompt
    assert lines[1].startswith("Steps: 20, Sampler: DDIM, CFG scale: 7.5, Seed: 7, Size: 256x128, Model hash: 0123")


def test_a_web_ui_s_text_is_read() -> None:
    info = infotext.read(A1111)
    assert info.prompt == "masterpiece, 1girl,\n(smile:1.2) <lora:style:0.8>"
    assert info.negative_prompt == "lowres, bad\nhands"
    assert info.settings["Size"] == "512x768"
    assert infotext.lora_hashes(info) == {"style": "0123456789ab", "other": "ba9876543210"}


@pytest.mark.parametrize("text", ["", "only a prompt", "prompt: with colons, and: commas"])
def test_text_without_settings_is_a_prompt(text: str) -> None:
    assert infotext.read(text) == Infotext(text, "", {})


WORKFLOW = """{
  "3": {"class_type": "KSampler", "inputs": {"seed": 5, "steps": 12, "cfg": 6.0, "sampler_name": "dpmpp_2m",
    "scheduler": "karras", "denoise": 1.0, "model": ["10", 0], "positive": ["6", 0], "negative": ["7", 0],
    "latent_image": ["5", 0]}},
  "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "v1-5.safetensors"}},
  "5": {"class_type": "EmptyLatentImage", "inputs": {"width": 512, "height": 768, "batch_size": 1}},
  "6": {"class_type": "CLIPTextEncode", "inputs": {"text": "a (girl:1.2)", "clip": ["10", 1]}},
  "7": {"class_type": "CLIPTextEncode", "inputs": {"text": "bad", "clip": ["10", 1]}},
  "9": {"class_type": "LoraLoader", "inputs": {"lora_name": "a/one.safetensors", "strength_model": 0.8,
    "strength_clip": 0.5, "model": ["4", 0], "clip": ["4", 1]}},
  "10": {"class_type": "LoraLoaderModelOnly", "inputs": {"lora_name": "two.safetensors", "strength_model": 1,
    "model": ["9", 0]}}
}"""


def test_a_simple_comfyui_workflow_is_read() -> None:
    info = comfy.read(WORKFLOW)
    assert info.prompt == "a (girl:1.2) <lora:one:0.5:0.8> <lora:two:1:1>"
    assert info.negative_prompt == "bad"
    assert info.settings == {
        "Steps": "12", "Sampler": "dpmpp_2m", "Schedule type": "Karras", "CFG scale": "6.0", "Seed": "5", "RNG": "CPU",
        "Size": "512x768", "Model": "v1-5",
    }  # fmt: skip


@pytest.mark.parametrize("text", [
    "not json", "{}", WORKFLOW.replace('"text": "bad"', '"text": ["8", 0]'),
    WORKFLOW.replace('"4": {', '"11": {"class_type": "KSampler", "inputs": {}}, "4": {'),
])  # fmt: skip
def test_another_workflow_is_one_sentence(text: str) -> None:
    with pytest.raises(Exception, match="more than one KSampler"):
        comfy.read(text)
