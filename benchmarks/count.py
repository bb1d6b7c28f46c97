"""What a step on Stable Diffusion 1.5 costs, counted without computing: `python -m benchmarks.count`.

FLOPs of a LoRA step and of encoding the image, which the plain loop does at every step; and the activations that
autograd keeps, with and without PEFT's fp32 casts of LoRA inputs (the UNet in bf16 on fake tensors, under the autocast
that training uses; each storage once, weights left out).
"""

import argparse

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode

from anime_lora.config.load import load_params
from anime_lora.config.paths import PARAMS
from anime_lora.lora import adapter


def fake(module: nn.Module) -> None:
    """Give a module on the meta device fake CPU weights: adapters in fp32, the rest frozen in bf16."""
    for path, part in module.named_modules():
        for name, parameter in list(part.named_parameters(recurse=False)):
            dtype = torch.float32 if "lora_" in path else torch.bfloat16
            made = nn.Parameter(torch.empty(parameter.shape, dtype=dtype), requires_grad="lora_" in path)
            setattr(part, name, made)


def activation_bytes(target: str, casting: bool, batch: int, side: int) -> int:
    """Bytes of activations kept for backward with PEFT's input casts on or off."""
    settings = load_params(PARAMS).train.model_copy(update={"target": target})
    sizes: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        if not isinstance(tensor, nn.Parameter):
            sizes[tensor.untyped_storage()._cdata] = tensor.untyped_storage().nbytes()
            held.append(tensor)
        return tensor

    held: list[Tensor] = []
    with torch.device("meta"):
        unet = UNet2DConditionModel(sample_size=64, cross_attention_dim=768, attention_head_dim=8)
        unet.add_adapter(adapter.config(settings, adapter.TARGETS[target]), adapter_name=adapter.ADAPTER)
    for _, layer in adapter.layers(unet):
        layer.cast_input_dtype_enabled = casting
    with FakeTensorMode(), torch.autocast("cpu", dtype=torch.bfloat16):
        fake(unet.train())
        weights = {parameter.untyped_storage()._cdata for parameter in unet.parameters()}
        noisy = torch.randn(batch, 4, side // 8, side // 8, dtype=torch.bfloat16)
        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            unet(noisy, torch.zeros(batch, dtype=torch.long), torch.randn(batch, 77, 768, dtype=torch.bfloat16))
    return sum(size for place, size in sizes.items() if place not in weights)


def flops(target: str, batch: int, side: int) -> tuple[int, int]:
    """FLOPs of one LoRA step of the UNet, forward and backward, and of encoding its images."""
    settings = load_params(PARAMS).train.model_copy(update={"target": target})
    down, up = ("DownEncoderBlock2D",) * 4, ("UpDecoderBlock2D",) * 4
    blocks = {"block_out_channels": (128, 256, 512, 512), "layers_per_block": 2, "latent_channels": 4}
    with torch.device("meta"):
        unet = UNet2DConditionModel(sample_size=64, cross_attention_dim=768, attention_head_dim=8).requires_grad_(False)
        unet.add_adapter(adapter.config(settings, adapter.TARGETS[target]), adapter_name=adapter.ADAPTER)
        vae = AutoencoderKL(down_block_types=down, up_block_types=up, **blocks)
        with FlopCounterMode(display=False) as step:
            noisy, words = torch.randn(batch, 4, side // 8, side // 8), torch.randn(batch, 77, 768)
            unet(noisy, torch.zeros(batch, dtype=torch.long), words).sample.sum().backward()
        with torch.no_grad(), FlopCounterMode(display=False) as encode:
            vae.encode(torch.randn(batch, 3, side, side))
    return step.get_total_flops(), encode.get_total_flops()


def main() -> None:
    """Print one row per target preset."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--resolution", type=int, default=512)
    options = parser.parse_args()
    print(
        f"SD 1.5, {options.resolution} px, batch {options.batch}: step and encoding; bf16 activations kept for backward"
    )
    print("| target | step, TFLOP | encoding, TFLOP | both / step | PEFT's default, GiB | casts off, GiB | saved |")
    print("|---|---|---|---|---|---|---|")
    for target in adapter.TARGETS:
        on, off = (activation_bytes(target, casting, options.batch, options.resolution) for casting in (True, False))
        step, encode = flops(target, options.batch, options.resolution)
        work = f"{step / 1e12:.2f} | {encode / 1e12:.2f} | {(step + encode) / step:.2f}"
        print(f"| {target} | {work} | {on / 2**30:.2f} | {off / 2**30:.2f} | {1 - off / on:.0%} |")


if __name__ == "__main__":
    main()
