"""The pocket models: any prompt tokenizes, training resumes exactly, plain diffusers and transformers load them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionImg2ImgPipeline, StableDiffusionPipeline
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import CLIPModel, CLIPProcessor, CLIPTokenizer

from pocket.__main__ import RECIPE
from pocket.faces.character import sample_character
from pocket.models import shapes
from pocket.models.publish import publish_base, publish_scorer
from pocket.models.tokenizer import train_tokenizer
from pocket.training.autoencoder import encode, normalise, reconstruction, to_tensor
from pocket.training.diffusion import new_diffusion, weights
from pocket.training.fit import Plan, fit
from pocket.training.order import PocketTraining
from pocket.training.recipe import read_recipe
from pocket.training.text_pretraining import NOT_MENTIONED, QUESTIONS, CaptionClassifier, labels, questions_loss


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> CLIPTokenizer:
    folder = tmp_path_factory.mktemp("tokenizer")
    train_tokenizer(folder)
    return CLIPTokenizer.from_pretrained(folder)


@pytest.mark.parametrize(
    "prompt", ["", "😀 ünïcode 日本", "word " * 300, "myAnimeStyleToken anime_face girl", "\n\t", "(a:1.2)"]
)
def test_any_prompt_tokenizes(tokenizer: CLIPTokenizer, prompt: str) -> None:
    """Every prompt becomes 77 known ids that start with the start token and hold the end token."""
    ids = tokenizer(prompt, padding="max_length", truncation=True, max_length=tokenizer.model_max_length).input_ids
    assert len(ids) == 77
    assert ids[0] == tokenizer.bos_token_id
    assert tokenizer.eos_token_id in ids
    assert max(ids) < len(tokenizer)


def test_no_character_is_lost(tokenizer: CLIPTokenizer) -> None:
    """Bytes that no merge covers decode to what was typed, in lower case."""
    ids = tokenizer("Ünïcode 日本 😀").input_ids
    assert tokenizer.decode(ids, skip_special_tokens=True).split() == ["ünïcode", "日本", "😀"]


def test_text_tower_reads_its_summary_at_the_end_token(tokenizer: CLIPTokenizer) -> None:
    """The pooled state is the one at the first end token, so padding does not change it."""
    torch.manual_seed(0)
    tower = shapes.text_encoder(tokenizer).eval()
    short = tokenizer("blue hair", return_tensors="pt").input_ids
    padded = tokenizer("blue hair", padding="max_length", max_length=77, return_tensors="pt").input_ids
    with torch.no_grad():
        torch.testing.assert_close(tower(short).pooler_output, tower(padded).pooler_output)


def test_unet_attends_at_every_resolution() -> None:
    """Each block of the UNet has cross-attention, under the names of SD 1.5."""
    unet = shapes.unet()
    blocks = [*unet.down_blocks, unet.mid_block, *unet.up_blocks]
    for block in blocks:
        assert any(name.endswith("attn2.to_out.0") for name, _ in block.named_modules())
    assert unet.config.in_channels == shapes.FIRST.latent_channels == unet.config.out_channels


def test_resumed_training_is_the_same(tmp_path: Path) -> None:
    """A run cut between two saves and taken up again ends on the very weights of one that was not."""

    def run(folder: Path, stop_after: int | None = None) -> Tensor:
        torch.manual_seed(1)
        net, calls = nn.Linear(4, 4), 0

        def loss(generator: torch.Generator) -> Tensor:
            nonlocal calls
            calls += 1
            if stop_after is not None and calls > stop_after:
                raise KeyboardInterrupt
            return net(torch.randn(3, 4, generator=generator)).square().mean()

        fit(net, loss, Plan("tiny", 8, 1e-2, 1, folder, warmup=2, save_every=2))
        return net.weight.detach().clone()

    whole = run(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "cut", stop_after=5)
    assert torch.equal(run(tmp_path / "cut"), whole)


def test_normalised_latents_decode_the_same() -> None:
    """Folding gives every channel mean 0 and deviation 1 and leaves the reconstruction as it was."""
    torch.manual_seed(0)
    vae = shapes.autoencoder().eval()
    images = np.random.default_rng(0).integers(0, 256, (4, 64, 64, 3), np.uint8)
    with torch.no_grad():
        before = vae.decode(vae.encode(to_tensor(images)).latent_dist.mean).sample
        normalise(vae, encode(vae, images), 0.05)
        latents = encode(vae, images)
        after = vae.decode(latents).sample
    torch.testing.assert_close(after, before, atol=1e-4, rtol=0)
    torch.testing.assert_close(latents.mean((0, 2, 3)), torch.zeros(len(latents[0])), atol=1e-4, rtol=0)
    torch.testing.assert_close(latents.std((0, 2, 3)), torch.ones(len(latents[0])), atol=1e-4, rtol=0)


def test_losses_equal_hand_computed_numbers() -> None:
    """Weights are 1 from SNR 1 to gamma, gamma / SNR above, SNR^-power below; a constant miss has no edge term."""
    expected = torch.tensor([2.0, 1.0, 1.0, 5 / 9])
    torch.testing.assert_close(weights(torch.tensor([0.2, 0.5, 0.75, 0.9]), 5.0, 0.5), expected)
    miss = reconstruction(torch.full((1, 3, 4, 4), 0.5), torch.zeros(1, 3, 4, 4))
    torch.testing.assert_close(miss, torch.tensor(8 * 0.25 + 0.5 * 0.5))


def test_plain_pipelines_load_the_base(tokenizer: CLIPTokenizer, tmp_path: Path) -> None:
    """Diffusers' own pipelines load the folder and generate from an over-long prompt and from an image."""
    publish_base(tmp_path / "base", shapes.autoencoder(), new_diffusion(tokenizer, 0))
    text2img = StableDiffusionPipeline.from_pretrained(tmp_path / "base", dtype=torch.float32)
    text2img.set_progress_bar_config(disable=True)
    image = text2img("girl 😀 " + "word " * 300, num_inference_steps=1).images[0]
    assert image.size == (shapes.RESOLUTION, shapes.RESOLUTION)
    img2img = StableDiffusionImg2ImgPipeline(**text2img.components, requires_safety_checker=False)
    img2img.set_progress_bar_config(disable=True)
    assert img2img("", image=image, strength=0.5, num_inference_steps=2).images[0].size == image.size


def test_plain_transformers_load_the_scorer(tokenizer: CLIPTokenizer, tmp_path: Path) -> None:
    """CLIPModel and CLIPProcessor load the folder and score images of any size against texts."""
    publish_scorer(tmp_path / "clip", shapes.scorer(tokenizer), tokenizer)
    model = CLIPModel.from_pretrained(tmp_path / "clip", dtype=torch.float32)
    processor = CLIPProcessor.from_pretrained(tmp_path / "clip")
    images = [np.zeros((200, 150, 3), np.uint8), np.zeros((64, 64, 3), np.uint8)]
    batch = processor(text=["a girl", "", "red hair"], images=images, return_tensors="pt", padding=True)
    with torch.no_grad():
        assert model(**batch).logits_per_image.shape == (2, 3)


def test_a_caption_answers_only_what_it_says() -> None:
    """Questions a caption does not answer are passed over, in tags and in sentences."""
    who = replace(
        sample_character(3), gender="girl", hair_color="blue", hair_length="long", eye_color="green",
        expression="smiling", glasses=True, background="white",
    )  # fmt: skip

    def answers(text: str) -> dict[str, str]:
        found = labels(text, who, "photo")
        return {
            name: values[k] for (name, values), k in zip(QUESTIONS.items(), found, strict=True) if k != NOT_MENTIONED
        }

    assert answers("portrait, high quality") == {}
    assert answers("a photo of a woman with long blue hair wearing glasses") == {
        "gender": "girl", "hair_color": "blue", "hair_length": "long", "glasses": "glasses", "domain": "photo",
    }  # fmt: skip
    assert answers("green eyes, smiling, white background") == {
        "eye_color": "green", "expression": "smiling", "background": "white",
    }  # fmt: skip


def test_a_tower_learns_to_read(tokenizer: CLIPTokenizer, tmp_path: Path) -> None:
    """Forty steps lower the loss of questions about captions it has not seen."""
    torch.manual_seed(0)
    classifier = CaptionClassifier(shapes.text_encoder(tokenizer))
    loss = questions_loss(classifier, tokenizer, 16, "cpu")
    unseen = torch.Generator().manual_seed(77)
    before = float(loss(unseen).detach())
    fit(classifier, loss, Plan("text_encoder", 40, 2e-3, 1, tmp_path, warmup=5))
    assert float(loss(unseen.manual_seed(77)).detach()) < 0.95 * before


def test_going_on_keeps_the_latents(tmp_path: Path) -> None:
    """`go_on` starts from the published weights: the decoder and then the base learn more, encoder and tokenizer stay.

    A second sitting starts from what the first one published, not where the first one's state file ends.
    """
    recipe = read_recipe(RECIPE)
    recipe = recipe.model_copy(
        update={
            "images": 14,
            "decoder": recipe.decoder.model_copy(update={"steps": 1}),
            "diffusion": recipe.diffusion.model_copy(update={"steps": 1, "batch": 2}),
        }
    )
    training = PocketTraining(recipe, tmp_path / "work", tmp_path / "out", go_on=True)
    PocketTraining(recipe, tmp_path / "work", tmp_path / "out").snapshot()

    def weights_of(part: str) -> dict[str, Tensor]:
        return load_file(next((tmp_path / "out/pocket" / part).glob("*.safetensors")))

    before, unet = weights_of("vae"), weights_of("unet")
    merges = (tmp_path / "out/pocket/tokenizer/merges.txt").read_bytes()
    (tmp_path / "work").rename(tmp_path / "another machine's")
    training.finish_decoder()
    after = weights_of("vae")
    changed = {name.split(".")[0] for name, value in before.items() if not torch.equal(value, after[name])}
    assert changed == {"decoder", "post_quant_conv"}
    training.base()
    assert (tmp_path / "out/pocket/tokenizer/merges.txt").read_bytes() == merges
    once = weights_of("unet")
    training.base()
    assert all(torch.equal(value, after[name]) for name, value in weights_of("vae").items())
    assert not all(torch.equal(value, once[name]) for name, value in unet.items())
    assert not all(torch.equal(value, once[name]) for name, value in weights_of("unet").items())
