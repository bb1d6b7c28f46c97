"""Which words a visit shows, and their embeddings."""

from collections.abc import Callable

import pytest
import torch

from anime_lora.training import text_embeddings
from anime_lora.training.text_embeddings import Texts, shown, token_count, truncated
from tests.support.tiny import byte_tokenizer

TEXT = "trigger, a, b, c, d, e, f"


def test_plain_caption_is_shown_as_it_is() -> None:
    """Without options nothing changes, not even spacing."""
    assert shown("x ,y", ("k",), 0.0, False, 1) == "x ,y"


def test_shuffled_tags_keep_the_first() -> None:
    """The trigger stays in front, the rest is in another order, none lost; the same visit shows the same."""
    found = shown(TEXT, (1, 0, "id"), 0.0, True, 1)
    assert found.startswith("trigger, ")
    assert sorted(found.split(", ")) == sorted(TEXT.split(", "))
    assert found == shown(TEXT, (1, 0, "id"), 0.0, True, 1)
    assert len({shown(TEXT, (1, epoch, "id"), 0.0, True, 1) for epoch in range(9)}) > 1


def test_dropout_empties_its_share() -> None:
    """At 0.3 about 300 of 1000 visits have no caption."""
    assert 240 < sum(not shown(TEXT, (1, epoch, "id"), 0.3, False, 1) for epoch in range(1000)) < 360


def test_long_captions_are_found() -> None:
    """300 tokens do not fit into 77; the caption is named, a short one is not."""
    tokenizer = byte_tokenizer()
    long = " ".join(["x"] * 298)
    assert token_count(tokenizer, long) == 300
    assert truncated(tokenizer, [long, "short"]) == [long]


def test_frozen_embeddings_are_computed_once(make: Callable) -> None:
    """A caption is encoded at its first use only, and the memory returns the same values."""
    run = make()
    calls: list[int] = []
    run.pipe.text_encoder.register_forward_hook(lambda *_: calls.append(1))
    texts = Texts(run.pipe.tokenizer, run.pipe.text_encoder, trained=False)
    first = texts(["a", "b", "a"])
    assert len(calls) == 2
    assert torch.equal(texts(["b"])[0], first[1])
    assert len(calls) == 2
    assert first.shape == (3, 77, 32)
    assert not first.requires_grad


def test_memory_is_bounded(make: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    """Shuffled tags make captions without end: past the limit they are encoded and not kept, with the same values."""
    monkeypatch.setattr(text_embeddings, "IN_MEMORY", 2)
    run = make()
    texts = Texts(run.pipe.tokenizer, run.pipe.text_encoder, trained=False)
    first = texts(["a", "b", "c", "d"])
    assert len(texts._memory) == 2
    assert torch.equal(texts(["a", "b", "c", "d"]), first)
