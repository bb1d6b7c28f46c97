"""Captions: which words a visit shows, and their text embeddings, cached while the text encoder is frozen."""

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from anime_lora.diffusion.rng import sample_bool, shuffled


def shown(text: str, key: tuple[object, ...], dropout: float, shuffle: bool, keep: int) -> str:
    """The caption of one visit: empty with probability `dropout`; else its comma-separated parts, after the first
    `keep` in an order that follows from `key` when `shuffle` is on.
    """
    if dropout and sample_bool(dropout, "caption dropout", *key):
        return ""
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
"""Embeddings kept in memory: with shuffled tags nearly every visit has a caption of its own."""


class Texts:
    """Turns captions into the UNet's conditioning, (n, tokens, width) on the text encoder's device."""

    def __init__(self, tokenizer: Any, encoder: torch.nn.Module, trained: bool) -> None:
        self.tokenizer, self.encoder, self.trained = tokenizer, encoder, trained
        self._memory: dict[str, Tensor] = {}

    def ids(self, texts: Sequence[str]) -> Tensor:
        """Token ids, (n, tokens), padded and truncated to what the text encoder reads."""
        length = self.tokenizer.model_max_length
        found = self.tokenizer(
            list(texts), padding="max_length", max_length=length, truncation=True, return_tensors="pt"
        )
        return torch.as_tensor(found.input_ids)

    def __call__(self, texts: Sequence[str]) -> Tensor:
        """Conditioning of `texts`; with gradients when the text encoder is trained, else from memory."""
        if self.trained:
            return self._encode(texts)
        return torch.stack([self._remembered(text) for text in texts])

    def _remembered(self, text: str) -> Tensor:
        found = self._memory.get(text)
        if found is None:
            with torch.no_grad():
                found = self._encode([text])[0]
            if len(self._memory) < IN_MEMORY:
                self._memory[text] = found
        return found

    def _encode(self, texts: Sequence[str]) -> Tensor:
        device = next(self.encoder.parameters()).device
        encoded: Tensor = self.encoder(self.ids(texts).to(device))[0]
        return encoded
