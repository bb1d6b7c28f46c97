"""The UNet is compiled by another process while it trains."""

import time

import pytest
import torch

from pocket.models import shapes
from pocket.training import compile_ahead
from pocket.training.compile_ahead import CompileAhead, CompiledLater
from tests.pocket.training.tiny import TINY


def test_the_unet_is_compiled_once_that_is_known_to_be_quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """When another process has filled the compile cache, calls go to the compiled UNet, if time enough is left."""
    monkeypatch.setattr(compile_ahead, "_compile_twice", lambda *arguments: arguments[3].write_text("10.0"))
    unet = shapes.unet(TINY).to(memory_format=torch.channels_last)
    noisy = torch.randn(2, 4, 16, 16).contiguous(memory_format=torch.channels_last)
    states, times = torch.randn(2, 77, shapes.TEXT_WIDTH), torch.tensor([10, 900])
    predictions = []
    for seconds_left, compiled in ((3600, True), (30, False)):
        ahead = CompileAhead(TINY, 2, "cpu", backend="eager")
        ahead.compiler.join()
        predict = CompiledLater(unet, ahead, time.monotonic() + seconds_left)
        predictions.append(predict(noisy, times, states).detach())
        assert predict.compiled == compiled
    torch.testing.assert_close(*predictions)


@pytest.mark.gpu
@pytest.mark.slow
def test_the_compile_cache_is_filled_by_another_process() -> None:
    """Compiling in two other processes ends well, the compiled UNet takes over and predicts what the plain one does."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    unet = shapes.unet(TINY).to(device, memory_format=torch.channels_last)
    ahead = CompileAhead(TINY, 2, device)
    predict = CompiledLater(unet, ahead, time.monotonic() + 36_000)
    noisy = torch.randn(2, 4, 16, 16, device=device).contiguous(memory_format=torch.channels_last)
    states, times = torch.randn(2, 77, shapes.TEXT_WIDTH, device=device), torch.tensor([10, 900], device=device)
    plain = predict(noisy, times, states)
    assert not predict.compiled
    ahead.compiler.join()
    torch.testing.assert_close(predict(noisy, times, states), plain, atol=1e-3, rtol=1e-3)
    assert predict.compiled
