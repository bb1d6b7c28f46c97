"""The plain loop that ours is compared with trains in every precision."""

from collections.abc import Callable

import pytest
import torch

from benchmarks.train import Plain
from tests.support.tiny import SIDE, tiny_pipeline, train_settings


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_plain_loop_takes_a_step(make: Callable, precision: str) -> None:
    """The base in its precision, the adapters in fp32 and moved, as diffusers' script has them."""
    plain = Plain(tiny_pipeline(), train_settings(precision=precision), SIDE, torch.device("cpu"))
    before = [parameter.detach().clone() for parameter in plain.trained]
    plain.step(make().train_images[:2], 1)
    assert {parameter.dtype for parameter in plain.trained} == {torch.float32}
    assert plain.pipe.unet.conv_in.weight.dtype == {"fp32": torch.float32, "bf16": torch.bfloat16}[precision]
    assert any(not torch.equal(old, new) for old, new in zip(before, plain.trained, strict=True))
