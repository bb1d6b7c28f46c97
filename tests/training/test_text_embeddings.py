"""Captions: augmented, counted in tokens, embedded."""

from collections.abc import Callable

import pytest
import torch
from transformers import CLIPTokenizer

from anime_lora.training import text_embeddings
from anime_lora.training.text_embeddings import TextEmbeddings, augment_caption, meaning, token_count, truncated
from tests.support.tiny import byte_tokenizer

TEXT = "trigger, a, b, c, d, e, f"


def test_a_caption_without_options_stays_as_it_is() -> None:
    """Without options nothing changes, not even spacing."""
    assert augment_caption("x ,y", ("k",), 0.0, False, 1) == "x ,y"


def test_shuffled_tags_keep_the_first() -> None:
    """The trigger stays in front, the rest is in another order, none lost; the same key gives the same."""
    shuffled = augment_caption(TEXT, (1, 0, "id"), 0.0, True, 1)
    assert shuffled.startswith("trigger, ")
    assert sorted(shuffled.split(", ")) == sorted(TEXT.split(", "))
    assert shuffled == augment_caption(TEXT, (1, 0, "id"), 0.0, True, 1)
    assert len({augment_caption(TEXT, (1, epoch, "id"), 0.0, True, 1) for epoch in range(9)}) > 1


def test_dropout_empties_its_share() -> None:
    """At 0.3 about 300 of 1000 epochs have no caption."""
    assert 240 < sum(not augment_caption(TEXT, (1, epoch, "id"), 0.3, False, 1) for epoch in range(1000)) < 360


def test_long_captions_are_named() -> None:
    """300 tokens do not fit into 77; the caption is named, a short one is not."""
    tokenizer = byte_tokenizer()
    long = " ".join(["x"] * 298)
    assert token_count(tokenizer, long) == 300
    assert truncated(tokenizer, [long, "short"]) == [long]


def test_frozen_embeddings_are_computed_once(make: Callable) -> None:
    """A caption is encoded at its first use only, and the memory returns the same values."""
    trainer = make()
    calls: list[int] = []
    trainer.pipe.text_encoder.register_forward_hook(lambda *_: calls.append(1))
    embeddings = TextEmbeddings(trainer.pipe.tokenizer, trainer.pipe.text_encoder, trained=False)
    first = embeddings(["a", "b", "a"])
    assert len(calls) == 2
    assert torch.equal(embeddings(["b"])[0], first[1])
    assert len(calls) == 2
    assert first.shape == (3, 77, 32)
    assert not first.requires_grad


def test_memory_is_bounded(make: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    """Shuffled tags make captions without end: past the limit they are encoded and not kept, with the same values."""
    monkeypatch.setattr(text_embeddings, "IN_MEMORY", 2)
    trainer = make()
    embeddings = TextEmbeddings(trainer.pipe.tokenizer, trainer.pipe.text_encoder, trained=False)
    first = embeddings(["a", "b", "c", "d"])
    assert len(embeddings._memory) == 2
    assert torch.equal(embeddings(["a", "b", "c", "d"]), first)


def test_of_several_captions_each_use_takes_another() -> None:
    lines = ["girl, blue hair", "a girl who smiles", "portrait"]
    taken = [augment_caption("\n".join(lines), (1, epoch, "id"), 0.0, False, 1) for epoch in range(60)]
    assert set(taken) == set(lines)
    assert taken == [augment_caption("\n".join(lines), (1, epoch, "id"), 0.0, False, 1) for epoch in range(60)]
    assert min(taken.count(line) for line in lines) > 8
    shuffled = {augment_caption("\n".join(lines), (1, epoch, "id"), 0.0, True, 0) for epoch in range(60)}
    assert shuffled == {*lines, "blue hair, girl"}


def tokenizer_of(*words: str) -> CLIPTokenizer:
    """CLIP's tokenizer that knows `words`, and all else by its bytes."""
    vocab, merges = byte_tokenizer().get_vocab(), list[tuple[str, str]]()
    for word in words:
        left = word[0]
        for place, letter in enumerate(word[1:], 1):
            right = letter + ("</w>" if place == len(word) - 1 else "")
            merges.append((left, right))
            left += right
            vocab.setdefault(left, len(vocab))
    return CLIPTokenizer(vocab=vocab, merges=merges, model_max_length=77)


@pytest.mark.parametrize(("word", "says"), [
    ("anime", "knows anime as one token"), ("Anime", "knows Anime as one token"),
    ("animes", "is close to anime"), ("zxystyle", None), ("sks", None),
])  # fmt: skip
def test_a_word_that_means_something_is_named(word: str, says: str | None) -> None:
    """One token, or close to one; a word of single letters means nothing."""
    sentence = meaning(tokenizer_of("anime", "girl"), word)
    assert sentence is None if says is None else says in str(sentence)


def test_a_word_made_of_known_words_is_named() -> None:
    """`red` stands within a word, and so without the mark of an end, beside `hair` with it."""
    tokenizer = tokenizer_of("red", "hair")
    sentence = meaning(tokenizer_with_inner(tokenizer, "red"), "redhair")
    assert "as the words red hair" in str(sentence)


def tokenizer_with_inner(tokenizer: CLIPTokenizer, word: str) -> CLIPTokenizer:
    """The same with `word` as the beginning of others too."""
    vocab = {**tokenizer.get_vocab(), word: len(tokenizer.get_vocab())}
    merges = [("r", "e"), ("re", "d"), ("re", "d</w>"), ("h", "a"), ("ha", "i"), ("hai", "r</w>")]
    return CLIPTokenizer(vocab=vocab, merges=merges, model_max_length=77)
