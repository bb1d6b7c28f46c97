"""What the renderers write."""

import numpy as np
import torch
from transformers import CLIPTokenizer

from anime_lora.sampling import controlnet as library
from pocket.__main__ import GPU_RECIPE
from pocket.faces.avatars import Avatars
from pocket.faces.character import sample_character
from pocket.faces.domains import render
from pocket.faces.styles import BASE_DOMAINS
from pocket.training.corpus import HELD_OUT
from pocket.training.diffusion import tokens
from pocket.training.live_corpus import SIDE, edges, padded_tokenizer, sample_image
from pocket.training.recipe import read_gpu_recipe
from tests.pocket.training.tiny import BASE_FOLDER


def test_edges_are_those_of_the_library() -> None:
    """The ControlNet learns from the same edge maps that sampling gives it."""
    for seed, domain in enumerate(BASE_DOMAINS):
        image = render(sample_character(seed), domain, SIDE)
        ours = edges(image)
        assert 0.005 < ours.mean() < 0.3
        assert np.array_equal(ours, np.asarray(library.canny_edges(image))[..., 0] == 255)


def test_renderers_tokenize_as_pipelines_do() -> None:
    """The renderers' tokenizer pads and cuts like the pipeline's."""
    captions = ["a photo of a girl", "", "word " * 300, "😀 ünïcode"]
    encodings = padded_tokenizer(BASE_FOLDER / "tokenizer/tokenizer.json", 77).encode_batch(captions)
    expected = tokens(CLIPTokenizer.from_pretrained(BASE_FOLDER / "tokenizer"), captions)
    assert torch.equal(torch.tensor([encoding.ids for encoding in encodings]), expected)


def test_an_image_and_its_captions_are_a_function_of_the_index() -> None:
    """The same index gives the same image and captions; no held-out style is named, no held-out character shown."""
    images, avatars = read_gpu_recipe(GPU_RECIPE).images, Avatars()
    first, second = (sample_image(5, images, avatars) for _ in range(2))
    assert first[0].tobytes() == second[0].tobytes()
    assert first[1] == second[1]
    captions = [caption for index in range(24) for caption in sample_image(index, images, avatars)[1]]
    assert "" in captions
    assert not [word for word in ("lorelei", "adventurer", "micah") if word in " ".join(captions)]
    assert set(images.domains) == set(images.wordless) == {*BASE_DOMAINS, "mixed", "avatars"}
    assert images.count < HELD_OUT
