"""Training goes on from what is published."""

from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor
from typer.testing import CliRunner

from pocket.__main__ import RECIPE, app
from pocket.training.order import PocketTraining
from pocket.training.recipe import read_recipe


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


def test_going_on_refuses_the_second_edition(tmp_path: Path) -> None:
    """Its UNet predicts velocities: this training would teach it noise. Nothing is written."""
    result = CliRunner().invoke(app, ["train", "base", "--go-on", "--work", str(tmp_path / "work")])
    assert result.exit_code == 2
    assert "train-gpu" in result.output
    assert not (tmp_path / "work").exists()
