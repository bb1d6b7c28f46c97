"""Captions: their augmentation in each epoch, and their text embeddings, cached while the text encoder is frozen."""

import difflib
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from anime_lora.diffusion.rng import sample_bool, shuffled


def augment_caption(text: str, key: tuple[object, ...], dropout: float, shuffle: bool, keep: int) -> str:
    """The caption that is trained on: empty with probability `dropout`; else a line of `text`, with its comma-separated
    parts after the first `keep` shuffled when `shuffle` is on. All of it follows from `key` alone.
    """
    if dropout and sample_bool(dropout, "caption dropout", *key):
        return ""
    if "\n" in text:
        text = shuffled(text.split("\n"), "caption line", *key)[0]
    if not shuffle:
        return text
    parts = [part.strip() for part in text.split(",") if part.strip()]
    return ", ".join(parts[:keep] + shuffled(parts[keep:], "tags", *key))


def token_count(tokenizer: Any, text: str) -> int:
    """Tokens of `text` with its start and end marks, before truncation."""
    return len(tokenizer(text, truncation=False, verbose=False).input_ids)


def truncated(tokenizer: Any, texts: Iterable[str]) -> list[str]:
    """The texts that are longer than the text encoder reads (77 tokens for SD 1.x)."""
    return [text for text in texts if token_count(tokenizer, text) > tokenizer.model_max_length]


IN_MEMORY = 4096
"""Embeddings kept in memory: with shuffled tags nearly every epoch has captions of its own."""


class TextEmbeddings:
    """Turns captions into the UNet's conditioning, (n, tokens, width) on the text encoder's device."""

    def __init__(self, tokenizer: Any, encoder: torch.nn.Module, trained: bool) -> None:
        self.tokenizer, self.encoder, self.trained = tokenizer, encoder, trained
        self._memory: dict[str, Tensor] = {}

    def ids(self, texts: Sequence[str]) -> Tensor:
        """Token ids, (n, tokens), padded and truncated to what the text encoder reads."""
        length = self.tokenizer.model_max_length
        tokens = self.tokenizer(
            list(texts), padding="max_length", max_length=length, truncation=True, return_tensors="pt"
        )
        return torch.as_tensor(tokens.input_ids)

    def __call__(self, texts: Sequence[str]) -> Tensor:
        """Conditioning of `texts`; with gradients when the text encoder is trained, else from memory."""
        if self.trained:
            return self._encode(texts)
        return torch.stack([self._cached(text) for text in texts])

    def _cached(self, text: str) -> Tensor:
        embedding = self._memory.get(text)
        if embedding is None:
            with torch.no_grad():
                embedding = self._encode([text])[0]
            if len(self._memory) < IN_MEMORY:  # past it nothing is dropped: the first captions come again each epoch
                self._memory[text] = embedding
        return embedding

    def _encode(self, texts: Sequence[str]) -> Tensor:
        device = next(self.encoder.parameters()).device
        embeddings: Tensor = self.encoder(self.ids(texts).to(device))[0]
        return embeddings


LEAST_LETTERS = 3
"""Shorter pieces of a word mean nothing of their own."""


def meaning(tokenizer: Any, word: str) -> str | None:
    """What a text encoder already knows by a word, in a sentence; None where it is new to it.

    A LoRA called by a word that means something bends that meaning, and has it in its images.
    """
    pieces = [piece.removesuffix("</w>") for piece in tokenizer.tokenize(word)]
    known = {
        token.removesuffix("</w>")
        for token in tokenizer.get_vocab()
        if token.endswith("</w>") and token.removesuffix("</w>").isalpha()
    }
    if len(pieces) == 1:
        return f"the text encoder knows {word} as one token: a LoRA would bend what it means already"
    if len(pieces) <= 3 and all(len(piece) >= LEAST_LETTERS and piece in known for piece in pieces):
        return f"the text encoder reads {word} as the words {' '.join(pieces)}: what they mean would stay in the images"
    long = [token for token in known if len(token) > LEAST_LETTERS]
    close = difflib.get_close_matches(word.lower(), long, n=1, cutoff=0.85)
    return f"{word} is close to {close[0]}, which the text encoder knows: it is easily mistyped" if close else None
