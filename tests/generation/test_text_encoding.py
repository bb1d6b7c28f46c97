from typing import Any

import pytest
import torch
from diffusers import StableDiffusionPipeline

from anime_lora.errors import SamplingError
from anime_lora.generation.text_encoding import PromptEncoder, chunks
from tests.support.tiny import tiny_pipeline


@pytest.fixture(scope="module")
def pipe() -> StableDiffusionPipeline:
    with torch.random.fork_rng():
        pipeline = tiny_pipeline()
    pipeline.text_encoder.eval().requires_grad_(False)
    norm(pipeline).bias.fill_(-0.1)  # as trained ones have a mean
    return pipeline


def norm(pipe: Any) -> torch.nn.LayerNorm:
    return getattr(pipe.text_encoder, "text_model", pipe.text_encoder).final_layer_norm


def read(pipe: Any, prompt: str) -> list[str]:
    """The text of each chunk; every byte is a token here."""
    return [pipe.tokenizer.decode(chunk.tokens).replace(" ", "") for chunk in chunks(pipe.tokenizer, prompt)]


def test_a_plain_prompt_is_encoded_as_diffusers_encodes_it(pipe: Any) -> None:
    mine = PromptEncoder(pipe)("a girl, red hair", "bad")
    assert all(map(torch.equal, mine, pipe.encode_prompt("a girl, red hair", "cpu", 1, True, "bad")))


def test_the_second_last_layer_is_normalised_by_the_last_norm(pipe: Any) -> None:
    ids = pipe.tokenizer(["x"], padding="max_length", max_length=77, return_tensors="pt").input_ids
    states = pipe.text_encoder(ids, output_hidden_states=True).hidden_states
    positive, _ = PromptEncoder(pipe, 2)("x", "")
    assert positive.equal(norm(pipe)(states[-2]))
    assert not positive.equal(PromptEncoder(pipe, 1)("x", "")[0])


def test_more_layers_than_there_are_cannot_be_skipped(pipe: Any) -> None:
    with pytest.raises(SamplingError, match="has 2 layers"):
        PromptEncoder(pipe, 3)


def test_long_prompts_are_read_in_chunks_of_75_and_the_shorter_one_is_filled_up(pipe: Any) -> None:
    assert read(pipe, "x" * 160) == ["x" * 75, "x" * 75, "x" * 10]
    positive, negative = PromptEncoder(pipe)("x " * 160, "bad")
    assert positive.shape == negative.shape == (1, 3 * 77, 32)
    first, empty = PromptEncoder(pipe)("x " * 75, "")
    assert positive[:, :77].equal(first)
    assert negative[:, 154:].equal(empty)


def test_a_chunk_ends_after_a_comma_that_is_near_its_end(pipe: Any) -> None:
    assert read(pipe, "a" * 60 + "," + "b" * 30) == ["a" * 60 + ",", "b" * 30]
    assert read(pipe, "a" * 50 + "," + "b" * 30) == ["a" * 50 + "," + "b" * 24, "b" * 6]
    assert read(pipe, "a" * 75 + ",b") == ["a" * 75, ",b"]


def test_break_ends_a_chunk(pipe: Any) -> None:
    assert read(pipe, "red BREAK blue") == ["red", "blue"]
    assert read(pipe, "") == [""]


def test_a_weight_scales_its_words_and_keeps_the_mean(pipe: Any) -> None:
    """As A1111's original emphasis does."""
    plain, _ = PromptEncoder(pipe)("a red cat", "")
    heavy, _ = PromptEncoder(pipe)("a (red:1.5) cat", "")
    assert heavy.mean().item() == pytest.approx(plain.mean().item(), rel=1e-4)
    ratio = (heavy / plain).mean(-1)[0]
    assert ratio[2:5] / ratio[1] == pytest.approx(torch.full((3,), 1.5), rel=1e-4)
    assert ratio[5:] / ratio[1] == pytest.approx(torch.ones(72), rel=1e-4)


def test_a_text_encoder_without_a_mean_is_weighted_alone() -> None:
    with torch.random.fork_rng():
        pipeline = tiny_pipeline()  # its last norm has no bias yet: the mean is rounding
    with torch.no_grad():
        plain, _ = PromptEncoder(pipeline)("a red cat", "")
        heavy, _ = PromptEncoder(pipeline)("a (red:1.5) cat", "")
    assert (heavy[:, 2:5] / plain[:, 2:5]).flatten().tolist() == pytest.approx([1.5] * 96)
