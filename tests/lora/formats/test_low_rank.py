"""Every format's change as low-rank factors equals the change by its own definition."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from anime_lora.errors import AdapterError
from anime_lora.lora.formats.low_rank import to_low_rank
from anime_lora.lora.formats.lycoris import adapted_modules

Tensors = dict[str, Tensor]


def rebuild(core: Tensor, right: Tensor, left: Tensor) -> Tensor:
    """LyCORIS's Tucker product, as its own code writes it."""
    return torch.einsum("ijkl,jr,ip->prkl", core, right, left).contiguous()


def loha(rank: int) -> tuple[Tensors, Tensor]:
    a, b, c, d = (torch.randn(shape) for shape in ((20, rank), (rank, 16), (20, rank), (rank, 16)))
    return {"m.hada_w1_a": a, "m.hada_w1_b": b, "m.hada_w2_a": c, "m.hada_w2_b": d}, (a @ b) * (c @ d) * 2.0 / rank


def loha_core() -> tuple[Tensors, Tensor]:
    cores = [torch.randn(3, 3, 3, 3) for _ in "12"]
    a, b, c, d = (torch.randn(3, n) for n in (20, 16, 20, 16))
    tensors = {"m.hada_w1_a": a, "m.hada_w1_b": b, "m.hada_w2_a": c, "m.hada_w2_b": d}
    tensors |= {"m.hada_t1": cores[0], "m.hada_t2": cores[1]}
    return tensors, rebuild(cores[0], b, a) * rebuild(cores[1], d, c) * 2.0 / 3


def lokr_whole() -> tuple[Tensors, Tensor]:
    """Both factors whole: LyCORIS then leaves alpha out."""
    one, two = torch.randn(4, 3), torch.randn(5, 6, 3, 3)
    return {"m.lokr_w1": one, "m.lokr_w2": two}, torch.kron(one[:, :, None, None], two)


def lokr_split() -> tuple[Tensors, Tensor]:
    one, a, b = torch.randn(4, 3), torch.randn(5, 2), torch.randn(2, 6)
    return {"m.lokr_w1": one, "m.lokr_w2_a": a, "m.lokr_w2_b": b}, torch.kron(one, a @ b) * 2.0 / 2


def lokr_core() -> tuple[Tensors, Tensor]:
    one, core, a, b = torch.randn(4, 3), torch.randn(2, 2, 3, 3), torch.randn(2, 5), torch.randn(2, 6)
    tensors = {"m.lokr_w1": one, "m.lokr_w2_a": a, "m.lokr_w2_b": b, "m.lokr_t2": core}
    return tensors, torch.kron(one[:, :, None, None], rebuild(core, b, a)) * 2.0 / 2


def locon_core() -> tuple[Tensors, Tensor]:
    down, core, up = torch.randn(4, 6, 1, 1), torch.randn(4, 4, 3, 3), torch.randn(8, 4, 1, 1)
    tensors = {"m.lora_down.weight": down, "m.lora_mid.weight": core, "m.lora_up.weight": up}
    # as the three convolutions act on an image
    eye = torch.eye(6)[:, :, None, None]
    image = torch.nn.functional.pad(eye, (2, 2, 2, 2))
    conv = torch.nn.functional.conv2d
    response = conv(conv(conv(image, down), core), up)
    return tensors, response.flip(2, 3).transpose(0, 1) * 2.0 / 4


def whole(*shape: int) -> tuple[Tensors, Tensor]:
    delta = torch.randn(shape)
    return {"m.diff": delta}, delta


CASES: dict[str, Callable[[], tuple[Tensors, Tensor]]] = {
    "loha": lambda: loha(3),
    "loha of full rank": lambda: loha(5),
    "loha with cores": loha_core,
    "lokr": lokr_whole,
    "lokr with a split factor": lokr_split,
    "lokr with a core": lokr_core,
    "locon with a core": locon_core,
    "full, wide": lambda: whole(3, 7),
    "full, tall": lambda: whole(40, 2, 3, 3),
}


@pytest.mark.parametrize("name", CASES)
def test_the_factors_product_is_the_format_s_change(name: str) -> None:
    """At alpha 2; ranks never exceed the smaller side of the matrix."""
    torch.manual_seed(0)
    tensors, expected = CASES[name]()
    (module,), _ = adapted_modules(tensors)
    weights = to_low_rank(module, tensors, 2.0)
    torch.testing.assert_close(weights.delta().reshape(expected.shape), expected, rtol=1e-5, atol=1e-5)
    assert weights.rank <= min(expected.flatten(1).shape)


def test_factors_that_do_not_fit_are_named() -> None:
    tensors = {"m.lora_down.weight": torch.ones(4, 3), "m.lora_up.weight": torch.ones(3, 5)}
    (module,), _ = adapted_modules(tensors)
    with pytest.raises(
        AdapterError, match=r"factors of m do not fit each other \(lora_down \(4, 3\), lora_up \(3, 5\)"
    ):
        to_low_rank(module, tensors, None)


def test_dora_lengths_of_inputs_are_refused() -> None:
    """Early DoRA files of LyCORIS divide by the columns' lengths instead of the rows'."""
    tensors = {"m.lora_down.weight": torch.ones(2, 3), "m.lora_up.weight": torch.ones(5, 2)}
    tensors["m.dora_scale"] = torch.ones(1, 3)
    (module,), _ = adapted_modules(tensors)
    with pytest.raises(AdapterError, match="DoRA lengths of its inputs"):
        to_low_rank(module, tensors, None)
