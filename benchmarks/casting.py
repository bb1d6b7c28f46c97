"""What PEFT's fp32 casts of LoRA inputs cost in memory, counted without computing: `python -m benchmarks.casting`.

The UNet of Stable Diffusion 1.5 in bf16 with fp32 adapters runs on fake tensors, under the autocast that training uses;
what autograd would keep for the backward pass is counted, each storage once, weights left out.
"""

import argparse

import torch
from diffusers import UNet2DConditionModel
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from anime_lora.params.document import load_params
from anime_lora.paths import PARAMS
from anime_lora.training import lora


def cast(module: nn.Module, dtype: torch.dtype) -> None:
    """Give `module` parameters of `dtype`: fake ones cannot be changed in place."""
    for part in module.modules():
        for name, parameter in part.named_parameters(recurse=False):
            setattr(part, name, nn.Parameter(parameter.detach().to(dtype), requires_grad=dtype == torch.float32))


def kept(target: str, casting: bool, batch: int, side: int) -> int:
    """Bytes of activations kept for backward with PEFT's input casts on or off."""
    settings = load_params(PARAMS).train.model_copy(update={"target": target})
    sizes: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        if not isinstance(tensor, nn.Parameter):
            sizes[tensor.untyped_storage()._cdata] = tensor.untyped_storage().nbytes()
            held.append(tensor)
        return tensor

    held: list[Tensor] = []
    with FakeTensorMode(), torch.autocast("cpu", dtype=torch.bfloat16):
        unet = UNet2DConditionModel(sample_size=64, cross_attention_dim=768, attention_head_dim=8)
        cast(unet, torch.bfloat16)
        unet.add_adapter(lora.config(settings, lora.TARGETS[target]), adapter_name=lora.ADAPTER)
        for _, layer in lora.layers(unet):
            cast(layer.lora_A, torch.float32), cast(layer.lora_B, torch.float32)
            layer.cast_input_dtype_enabled = casting
        unet.train()
        weights = {parameter.untyped_storage()._cdata for parameter in unet.parameters()}
        noisy = torch.randn(batch, 4, side // 8, side // 8, dtype=torch.bfloat16)
        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            unet(noisy, torch.zeros(batch, dtype=torch.long), torch.randn(batch, 77, 768, dtype=torch.bfloat16))
    return sum(size for place, size in sizes.items() if place not in weights)


def main() -> None:
    """Print one row per target preset."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--resolution", type=int, default=512)
    options = parser.parse_args()
    print(f"SD 1.5, {options.resolution} px, batch {options.batch}, bf16: activations kept for backward")
    print("| target | PEFT's default, GiB | casts off, GiB | saved |\n|---|---|---|---|")
    for target in lora.TARGETS:
        on, off = (kept(target, casting, options.batch, options.resolution) for casting in (True, False))
        print(f"| {target} | {on / 2**30:.2f} | {off / 2**30:.2f} | {1 - off / on:.0%} |")


if __name__ == "__main__":
    main()
