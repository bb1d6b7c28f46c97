"""LoRA layers in fewer steps: W x + b + s B (A x) with the sum inside the matrix product, and a gated feed-forward.

PEFT computes W x, A x, B ·, s · and + one after the other, and autograd goes back through each. Here one function does
all of it, and a 1×1 convolution is the matrix product that it is. Same values but for rounding; for fp32 only, where
nothing is cast between the steps. `benchmarks/fused_layers.py` measures what it brings; it stays while that is 10 %.
"""

from collections.abc import Callable
from typing import Any

import torch
from diffusers.models.activations import GEGLU
from peft.tuners.lora import LoraLayer
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from anime_lora.lora import adapter

Pair = tuple[int, int]


def fuse(module: nn.Module) -> None:
    """Give an fp32 model's LoRA layers and gates this forward; the adapters must be plain: no dropout, no DoRA.

    On a CPU and on CUDA, where the kernels called by name are known; elsewhere nothing happens.
    """
    if next(module.parameters()).device.type not in {"cpu", "cuda"}:
        return
    for _, layer in adapter.layers(module):
        fused = _fused_forward(layer)
        if fused is not None:
            layer.forward = _guarded(layer, fused)
    for part in module.modules():
        if isinstance(part, GEGLU):
            part.forward = lambda x, part=part: gated_gelu(part.proj(x))


def _guarded(layer: LoraLayer, fused: Callable[[Tensor], Tensor]) -> Callable[..., Tensor]:
    """`fused` while our adapter alone acts; PEFT's own forward when it is off, merged, or another one is there too."""
    peft_forward, alone = type(layer).forward, ([adapter.ADAPTER], adapter.ADAPTER)

    def forward(x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        # PEFT hands further keywords over where samples of one batch have different adapters (`adapter_names`)
        if args or kwargs or layer.disable_adapters or layer.merged or layer.active_adapter not in alone:
            output: Tensor = peft_forward(layer, x, *args, **kwargs)
            return output
        return fused(x)

    return forward


def _fused_forward(layer: LoraLayer) -> Callable[[Tensor], Tensor] | None:
    """The forward of one linear layer or convolution, None for another kind; weights and scale stay the layer's own."""
    base, scaling = layer.base_layer, layer.scaling
    down, up = layer.lora_A[adapter.ADAPTER], layer.lora_B[adapter.ADAPTER]

    def linear(x: Tensor) -> Tensor:
        flat, scale = x.reshape(-1, x.shape[-1]), scaling[adapter.ADAPTER]
        return lora_linear(flat, base.weight, base.bias, down.weight, up.weight, scale).view(*x.shape[:-1], -1)

    def pointwise(x: Tensor) -> Tensor:
        factors = (down.weight.flatten(1), up.weight.flatten(1), scaling[adapter.ADAPTER])
        return maps(lora_linear(rows(x), base.weight.flatten(1), base.bias, *factors), x)

    def convolution(x: Tensor) -> Tensor:
        frozen, stride_padding = (base.weight, base.bias), (base.stride, base.padding)
        return lora_convolution(x, frozen, down.weight, up.weight, scaling[adapter.ADAPTER], stride_padding)

    if isinstance(base, nn.Linear):
        return linear
    if not isinstance(base, nn.Conv2d) or isinstance(base.padding, str) or base.padding_mode != "zeros":
        return None
    if base.groups != 1 or base.dilation != (1, 1):
        return None
    single = base.kernel_size == base.stride == (1, 1) and base.padding == (0, 0)
    return pointwise if single else convolution


class LoraLinear(torch.autograd.Function):
    """x Wᵀ + b + s x Aᵀ Bᵀ for rows x (n, in); W (out, in) and b are frozen, A is (rank, in), B (out, rank)."""

    @staticmethod
    def forward(  # noqa: D102, PLR0917  torch hands tensors over one by one
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, down: Tensor, up: Tensor, scale: float
    ) -> Tensor:
        hidden = (x @ down.T).mul_(scale)
        ctx.save_for_backward(x, hidden, weight, down, up)
        ctx.scale = scale
        # B's product is summed into the frozen layer's output, never written on its own
        return functional.linear(x, weight, bias).addmm_(hidden, up.T)

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:  # noqa: D102
        x, hidden, weight, down, up = ctx.saved_tensors
        inner = (grad @ up).mul_(ctx.scale)
        grad_x = (grad @ weight).addmm_(inner, down) if ctx.needs_input_grad[0] else None
        return grad_x, None, None, inner.T @ x, grad.T @ hidden, None


class LoraConvolution(torch.autograd.Function):
    """W ∗ x + b + s B (A ∗ x) for x (n, in, h, w); W and b are frozen, A is (rank, in, k, k), B (out, rank, 1, 1)."""

    @staticmethod
    def forward(  # noqa: D102, PLR0917
        ctx: Any,
        x: Tensor,
        frozen: tuple[Tensor, Tensor | None],
        down: Tensor,
        up: Tensor,
        scale: float,
        stride_padding: tuple[Pair, Pair],
    ) -> Tensor:
        weight, bias = frozen
        x = x.contiguous(memory_format=layout(weight))
        hidden = rows(functional.conv2d(x, down, None, *stride_padding)).mul_(scale)
        output = functional.conv2d(x, weight, bias, *stride_padding)
        ctx.save_for_backward(x, hidden, weight, down, up)
        ctx.scale, ctx.stride_padding = scale, stride_padding
        return maps(rows(output).addmm_(hidden, up.flatten(1).T), output)

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:  # noqa: D102
        x, hidden, weight, down, up = ctx.saved_tensors
        flat = rows(grad)
        inner = maps((flat @ up.flatten(1)).mul_(ctx.scale), grad)
        of_input = ctx.needs_input_grad[0]
        grad_x, grad_down = convolution_backward(inner, x, down, ctx.stride_padding, (of_input, True))
        if of_input:
            grad_x += convolution_backward(maps(flat, grad), x, weight, ctx.stride_padding, (True, False))[0]
        return grad_x, None, grad_down, (flat.T @ hidden).view_as(up), None, None


class GatedGelu(torch.autograd.Function):
    """a · gelu(b) for x = [a, b] (…, 2 width); the gradient's halves are written in place, not put together after."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:  # noqa: D102
        value, gate = x.chunk(2, -1)
        activated = functional.gelu(gate)
        ctx.save_for_backward(x, activated)
        return value * activated

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, grad: Tensor) -> Tensor:  # noqa: D102
        x, activated = ctx.saved_tensors
        value, gate = x.chunk(2, -1)
        grad_x = torch.empty_like(x)
        grad_value, grad_gate = grad_x.chunk(2, -1)
        torch.mul(grad, activated, out=grad_value)
        torch.ops.aten.gelu_backward.grad_input(grad * value, gate, grad_input=grad_gate)
        return grad_x


lora_linear: Callable[..., Tensor] = LoraLinear.apply
lora_convolution: Callable[..., Tensor] = LoraConvolution.apply
gated_gelu: Callable[..., Tensor] = GatedGelu.apply


def convolution_backward(
    grad: Tensor, x: Tensor, weight: Tensor, stride_padding: tuple[Pair, Pair], of: tuple[bool, bool]
) -> Any:
    """Gradients of a convolution's input and weight; `of` says which of the two are computed."""
    grad = grad.contiguous(memory_format=layout(x))
    return torch.ops.aten.convolution_backward(
        grad, x, weight, None, *stride_padding, (1, 1), False, (0, 0), 1, (*of, False)
    )[:2]


def rows(x: Tensor) -> Tensor:
    """(n, C, h, w) in channels_last as a view (n·h·w, C)."""
    return x.contiguous(memory_format=torch.channels_last).permute(0, 2, 3, 1).view(-1, x.shape[1])


def maps(x: Tensor, like: Tensor) -> Tensor:
    """(n·h·w, C) as a view (n, C, h, w), with n, h and w of `like`."""
    n, _, h, w = like.shape
    return x.view(n, h, w, -1).permute(0, 3, 1, 2)


def layout(x: Tensor) -> torch.memory_format:
    """channels_last when `x` lies so, else the usual one."""
    return torch.channels_last if x.is_contiguous(memory_format=torch.channels_last) else torch.contiguous_format
