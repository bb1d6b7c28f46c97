"""From a prompt in A1111's syntax to the UNet's conditioning: chunks of 75 tokens, weights, clip skip."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from anime_lora.errors import SamplingError
from anime_lora.generation.prompts import BREAK, segments

BACKTRACK = 20
"""A chunk ends after its last comma where at most so many tokens follow it, so that no phrase is cut; A1111's value."""
LARGEST_CORRECTION = 2.0
"""By so much, or its inverse, a weighted chunk is brought back to its mean at most."""


@dataclass
class Chunk:
    """Tokens that the text encoder reads at once, without its start and end marks, and the weight of each."""

    tokens: list[int] = field(default_factory=list)
    weights: list[float] = field(default_factory=list)

    def split(self, place: int) -> "Chunk":
        """Cut this chunk at `place`; the rest is returned."""
        rest = Chunk(self.tokens[place:], self.weights[place:])
        self.tokens, self.weights = self.tokens[:place], self.weights[:place]
        return rest


def chunks(tokenizer: Any, prompt: str) -> list[Chunk]:
    """The prompt in chunks of at most 75 tokens (the text encoder's length without its marks); at least one."""
    length = tokenizer.model_max_length - 2
    comma = _tokens(tokenizer, ",")[-1:]
    done: list[Chunk] = []
    chunk = Chunk()
    for segment in segments(prompt):
        if segment.text == BREAK:
            done.append(chunk)
            chunk = Chunk()
            continue
        for token in _tokens(tokenizer, segment.text):
            if len(chunk.tokens) == length:
                done.append(chunk)
                chunk = chunk.split(_break_place(chunk.tokens, comma, token))
            chunk.tokens.append(token)
            chunk.weights.append(segment.weight)
    return [*done, chunk] if chunk.tokens or not done else done


def _break_place(tokens: list[int], comma: list[int], following: int) -> int:
    """Where a full chunk ends: after its last comma where that is near its end, else at the end."""
    if [following] == comma:
        return len(tokens)
    last = max((place for place, token in enumerate(tokens) if [token] == comma), default=-1)
    return last + 1 if last >= 0 and len(tokens) - last <= BACKTRACK else len(tokens)


def _tokens(tokenizer: Any, text: str) -> list[int]:
    return list(tokenizer(text, add_special_tokens=False, truncation=False, verbose=False).input_ids)


class PromptEncoder:
    """Encodes prompts with a pipeline's text encoder, LoRA layers as they are set; each prompt for itself.

    Args:
        pipe: has `tokenizer` and `text_encoder`.
        clip_skip: which layer's output is taken, counted as webuis do: 1 is the last, 2 the one before it.

    Raises:
        SamplingError: the text encoder has fewer layers.
    """

    def __init__(self, pipe: Any, clip_skip: int = 1) -> None:
        self.tokenizer, self.encoder, self.clip_skip = pipe.tokenizer, pipe.text_encoder, clip_skip
        layers = self.encoder.config.num_hidden_layers
        if clip_skip > layers:
            raise SamplingError(f"--clip-skip {clip_skip}: this base's text encoder has {layers} layers; use 1 or 2")

    def __call__(self, prompt: str, negative_prompt: str) -> tuple[Tensor, Tensor]:
        """Conditioning of both prompts, (1, tokens, width) each, the shorter one filled up with empty chunks."""
        both = [list(self._encode(chunks(self.tokenizer, text))) for text in (prompt, negative_prompt)]
        longest = max(map(len, both))
        if longest > min(map(len, both)):
            (empty,) = self._encode([Chunk()])
            both = [parts + [empty] * (longest - len(parts)) for parts in both]
        positive, negative = (torch.cat(parts, 1) for parts in both)
        return positive, negative

    def _encode(self, parts: list[Chunk]) -> Iterator[Tensor]:
        length = self.tokenizer.model_max_length
        device = self.encoder.device
        for chunk in parts:
            ids = [self.tokenizer.bos_token_id, *chunk.tokens, self.tokenizer.eos_token_id]
            ids += [self.tokenizer.pad_token_id] * (length - len(ids))
            embedding = self._layer(torch.tensor([ids], device=device))
            if any(weight != 1.0 for weight in chunk.weights):
                weights = [1.0, *chunk.weights, *[1.0] * (length - 1 - len(chunk.weights))]
                factors = torch.tensor(weights, device=device, dtype=embedding.dtype).view(1, -1, 1)
                weighted = embedding * factors
                # A1111's "Original" emphasis: the mean of the chunk stays what it was; where that is nearly 0
                # (SD 1.x has about -0.1), the quotient would be noise.
                factor = float(embedding.mean() / weighted.mean())
                embedding = weighted * factor if 1 / LARGEST_CORRECTION < factor < LARGEST_CORRECTION else weighted
            yield embedding

    def _layer(self, ids: Tensor) -> Tensor:
        if self.clip_skip == 1:
            last: Tensor = self.encoder(ids)[0]
            return last
        states = self.encoder(ids, output_hidden_states=True).hidden_states
        # transformers 5.6 took `text_model` out of CLIPTextModel
        model = getattr(self.encoder, "text_model", self.encoder)
        normalised: Tensor = model.final_layer_norm(states[-self.clip_skip])
        return normalised
