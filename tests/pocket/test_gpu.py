"""Training within given minutes, on a CPU and with tiny shapes: what is learned, saved, taken up again, published."""

import multiprocessing
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import ControlNetModel, StableDiffusionControlNetPipeline, StableDiffusionPipeline
from PIL import Image
from transformers import CLIPTokenizer
from typer.testing import CliRunner

from anime_lora.sampling import controlnet as library
from pocket.__main__ import BASE, GPU_RECIPE, app
from pocket.faces.avatars import Avatars
from pocket.faces.captions import tags, with_false_facts
from pocket.faces.character import sample_character
from pocket.faces.domains import face_svg, render
from pocket.faces.styles import BASE_DOMAINS, sample_style
from pocket.models import shapes
from pocket.models.publish import save_sharded
from pocket.training import compile_ahead
from pocket.training.compile_ahead import CompiledLater
from pocket.training.controlnet import new_controlnet
from pocket.training.corpus import HELD_OUT
from pocket.training.diffusion import tokens, velocity_weights
from pocket.training.gpu import PHASES, GpuTraining
from pocket.training.latent_store import LatentStore, to_device
from pocket.training.live_corpus import RENDERED, SIDE, WITH_EDGES, ImageArrays, edges, padded_tokenizer, sample_image
from pocket.training.recipe import GpuRecipe, read_gpu_recipe
from pocket.training.timed_fit import TimedPlan, fit_until

BASE_FOLDER = Path(__file__).parents[2] / BASE / "pocket"
TINY = shapes.Edition((8, 8, 8, 8, 8), 4, (32, 32), "v_prediction")


def tiny_recipe() -> GpuRecipe:
    """The recipe with one renderer, few images, and batches of two."""
    recipe = read_gpu_recipe(GPU_RECIPE)
    changes = {name: getattr(recipe, name).model_copy(update={"batch": 2}) for name in PHASES}
    images = recipe.images.model_copy(update={"count": 24, "renderers": 1, "captions": 2})
    return recipe.model_copy(update={**changes, "images": images, "compile": False, "log_every": 1})


def test_the_unet_is_compiled_once_that_is_known_to_be_quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """When another process has filled the compile cache, calls go to the compiled UNet, if time enough is left."""
    monkeypatch.setattr(compile_ahead, "_compile_twice", lambda *arguments: arguments[3].write_text("10.0"))
    unet = shapes.unet(TINY).to(memory_format=torch.channels_last)
    noisy = torch.randn(2, 4, 16, 16).contiguous(memory_format=torch.channels_last)
    states, times = torch.randn(2, 77, shapes.TEXT_WIDTH), torch.tensor([10, 900])
    predictions = []
    for seconds_left, compiled in ((3600, True), (30, False)):
        predict = CompiledLater(unet, TINY, 2, time.monotonic() + seconds_left, backend="eager")
        predict.compiler.join()
        predictions.append(predict(noisy, times, states).detach())
        assert predict.compiled == compiled
    torch.testing.assert_close(*predictions)


@pytest.mark.gpu
@pytest.mark.slow
def test_the_compile_cache_is_filled_by_another_process() -> None:
    """Compiling in two other processes ends well, the compiled UNet takes over and predicts what the plain one does."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    unet = shapes.unet(TINY).to(device, memory_format=torch.channels_last)
    predict = CompiledLater(unet, TINY, 2, time.monotonic() + 36_000)
    noisy = torch.randn(2, 4, 16, 16, device=device).contiguous(memory_format=torch.channels_last)
    states, times = torch.randn(2, 77, shapes.TEXT_WIDTH, device=device), torch.tensor([10, 900], device=device)
    plain = predict(noisy, times, states)
    assert not predict.compiled
    predict.compiler.join()
    torch.testing.assert_close(predict(noisy, times, states), plain, atol=1e-3, rtol=1e-3)
    assert predict.compiled


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What six seconds of training leave."""
    out = tmp_path_factory.mktemp("trained")
    GpuTraining(tiny_recipe(), TINY, BASE_FOLDER, out, "cpu").run(0.1)
    return out


def test_every_phase_leaves_its_model_and_previews(trained: Path) -> None:
    """Autoencoder, base and ControlNet lie in folders of their own; no renderer is left."""
    assert {folder.name for folder in trained.iterdir()} == {*PHASES, "previews"}
    for sheet in (trained / "previews").iterdir():
        with Image.open(sheet) as image:
            assert image.size == (8 * SIDE, 2 * SIDE)
    assert {sheet.name for sheet in (trained / "previews").iterdir()} == {"autoencoder-00000.png", "base-00000.png"}
    assert not multiprocessing.active_children()


def test_the_published_folders_are_what_diffusers_loads(trained: Path, tmp_path: Path) -> None:
    """Plain pipelines load the published base and ControlNet and generate; the weights are those that were trained."""
    result = CliRunner().invoke(app, ["publish", str(trained), "--out", str(tmp_path / "base")])
    assert result.exit_code == 0, result.output
    pipe = StableDiffusionPipeline.from_pretrained(tmp_path / "base/pocket", dtype=torch.float32)
    pipe.set_progress_bar_config(disable=True)
    assert pipe.scheduler.config.prediction_type == "v_prediction"
    assert pipe("girl", num_inference_steps=1).images[0].size == (SIDE, SIDE)
    source = StableDiffusionPipeline.from_pretrained(trained / "base", dtype=torch.float32)
    for part in ("unet", "vae", "text_encoder"):
        published = getattr(pipe, part).state_dict()
        assert all(torch.equal(value, published[name]) for name, value in getattr(source, part).state_dict().items())
    net = ControlNetModel.from_pretrained(tmp_path / "base/pocket-controlnet", dtype=torch.float32)
    control = StableDiffusionControlNetPipeline(**pipe.components, controlnet=net, requires_safety_checker=False)
    control.set_progress_bar_config(disable=True)
    condition = Image.fromarray(np.zeros((SIDE, SIDE, 3), np.uint8))
    assert control("girl", image=condition, num_inference_steps=1).images[0].size == (SIDE, SIDE)


def test_a_second_call_keeps_what_is_there(trained: Path) -> None:
    """Only the phase that is missing is trained, on the base that was saved, and it gets all the minutes."""
    weights = {name: next((trained / name).rglob("*.safetensors")) for name in ("autoencoder", "base")}
    before = {name: file.read_bytes() for name, file in weights.items()}
    (trained / "controlnet").rename(trained.parent / "first controlnet")
    training = GpuTraining(tiny_recipe(), TINY, BASE_FOLDER, trained, "cpu")
    assert training._ends(["controlnet"], 100.0, 60.0) == {"controlnet": pytest.approx(100 + 0.955 * 60)}
    training.run(0.1)
    assert {name: file.read_bytes() for name, file in weights.items()} == before
    assert (trained / "controlnet/config.json").is_file()


def test_no_file_of_the_second_edition_is_too_large_to_bring_home(tmp_path: Path) -> None:
    """Every saved file is at most 15 MB, and diffusers reads the parts as one model."""
    unet = shapes.unet(shapes.SECOND)
    save_sharded(tmp_path / "unet", unet)
    files = list((tmp_path / "unet").glob("*.safetensors"))
    assert len(files) >= 2
    assert max(file.stat().st_size for file in files) <= 15_000_000
    again = type(unet).from_pretrained(tmp_path / "unet", dtype=torch.float32).state_dict()
    assert all(torch.equal(value, again[name]) for name, value in unet.state_dict().items())


def test_a_timed_plan_ends_in_time() -> None:
    """The rate rises, stays, and is zero at the end; training stops there after at least one step."""
    recipe = tiny_recipe().controlnet.model_copy(update={"warmup": 4, "cooldown": 0.5})
    plan = TimedPlan("tiny", 10.0, 20.0, recipe, 100)
    rates = [
        plan.rate(step, now) for step, now in ((0, 10.0), (3, 11.0), (50, 15.0), (80, 17.5), (99, 20.0), (100, 21))
    ]
    assert rates == pytest.approx([0.25, 1.0, 1.0, 0.5, 0.0, 0.0])
    net = torch.nn.Linear(1, 1)
    groups = [{"params": list(net.parameters()), "lr": 1e-2}]
    now = time.monotonic()
    steps = fit_until(net, groups, lambda: net(torch.ones(1)).square().sum(), TimedPlan("tiny", now, now, recipe, 100))
    assert steps == 1
    assert not net.training


def test_velocity_weights_equal_hand_computed_numbers() -> None:
    """1 up to SNR 5; above it 6 / (SNR + 1)."""
    expected = torch.tensor([1.0, 1.0, 6 / 20])
    torch.testing.assert_close(velocity_weights(torch.tensor([0.1, 5 / 6, 0.95]), 5.0), expected)


def test_an_untrained_controlnet_changes_nothing_but_sees_the_edges() -> None:
    """Its residuals are zero at first; its edge encoder tells two edge images apart from the start."""
    torch.manual_seed(0)
    maps = [edges(render(sample_character(seed), "flat", SIDE)) for seed in (1, 2)]
    condition = torch.from_numpy(np.stack(maps)).float()[:, None].expand(-1, 3, -1, -1)
    net = new_controlnet(shapes.unet(TINY), TINY, 0, condition)
    with torch.no_grad():
        down, middle = net(
            torch.randn(2, 4, 16, 16), 500, torch.randn(2, 77, 128), controlnet_cond=condition, return_dict=False
        )
        first, second = net.controlnet_cond_embedding(condition)
    assert not any(residual.any() for residual in (*down, middle))
    assert (first - second).std() > 0.5


def test_edges_are_those_of_the_library() -> None:
    """The ControlNet learns from the same edge maps that sampling gives it."""
    for seed, domain in enumerate(BASE_DOMAINS):
        image = render(sample_character(seed), domain, SIDE)
        ours = edges(image)
        assert 0.005 < ours.mean() < 0.3
        assert np.array_equal(ours, np.asarray(library.canny_edges(image))[..., 0] == 255)


def test_the_store_gives_each_image_its_own_latents_captions_and_edges(tmp_path: Path) -> None:
    """Samples hold latents, token ids and edges of their own image, mirrored together; only rendered images occur."""
    recipe = tiny_recipe()
    arrays = ImageArrays.open(tmp_path, recipe.images, 77, create=True)
    rng = np.random.default_rng(0)
    patterns = rng.random((2, SIDE, SIDE)) < 0.1
    for pattern, index in zip(patterns, (3, 7), strict=True):
        arrays.pixels[index] = rng.integers(0, 256, (SIDE, SIDE, 3), np.uint8)
        arrays.tokens[index] = index
        arrays.edges[index] = np.packbits(pattern)
    arrays.state[[3, 7]] = RENDERED, WITH_EDGES
    vae = shapes.autoencoder(TINY).eval()
    store = LatentStore(vae, arrays, recipe, torch.Generator().manual_seed(0))
    assert store.index().tolist() == [3, 7]
    assert store.index(with_edges=True).tolist() == [7]
    batch = store.sample(64)
    assert set(batch.index.tolist()) == {3, 7}
    assert torch.equal(batch.ids, batch.index[:, None].expand(-1, 77))
    alpha = shapes.scheduler().alphas_cumprod[batch.times][:, None, None, None]
    clean = alpha.sqrt() * batch.noisy - (1 - alpha).sqrt() * batch.velocity
    for index in (3, 7):
        images = to_device(arrays.pixels[index][None], store.device)
        for mirrored, image in ((False, images), (True, images.flip(-1))):
            chosen = (batch.index == index) & (batch.mirrored == mirrored)
            with torch.no_grad():
                expected = vae.encode(image).latent_dist.mean
            assert (clean[chosen] - expected).std() < 1.2 * recipe.base.latent_noise
    unpacked = store.edge_images(torch.tensor([7, 7]), torch.tensor([False, True]))
    assert np.array_equal(unpacked[0, 0].numpy(), patterns[1])
    assert np.array_equal(unpacked[1, 2].numpy(), patterns[1][:, ::-1])


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


def test_false_facts_are_the_share_asked_for() -> None:
    """With share 0 a character stays; with share 1 what captions name is mostly another's, the pose stays."""
    rng = np.random.Generator(np.random.PCG64(0))
    characters = [sample_character(seed) for seed in range(40)]
    assert [with_false_facts(each, rng, 0.0) for each in characters] == characters
    false = [with_false_facts(each, rng, 1.0) for each in characters]
    assert np.mean([tags(a) != tags(b) for a, b in zip(characters, false, strict=True)]) == 1
    assert [each.tilt for each in false] == [each.tilt for each in characters]


def test_sampled_styles_render_and_differ() -> None:
    """Fifty sampled styles give fifty different images of one character, none with the held-out style's eyes."""
    rng = np.random.Generator(np.random.PCG64(1))
    styles = [sample_style(rng) for _ in range(50)]
    assert len({face_svg(sample_character(3), style) for style in styles}) == 50
    assert "anime" not in {style.eye for style in styles}


def test_avatars_are_nine_styles_with_their_artists_named() -> None:
    """36,000 faces of nine styles; the held-out styles are not among them; the README names every style's licence."""
    faces = Avatars()
    styles = {faces[index].style for index in range(0, len(faces), 500)}
    assert len(faces) == 36_000
    assert len(styles) == 9
    assert not styles & {"lorelei", "adventurer", "micah"}
    about = (Path(__file__).parents[2] / "pocket/faces/dicebear/README.md").read_text(encoding="utf-8").lower()
    for style in styles:
        assert style.removesuffix(" doodle").replace(" ", "") in about.replace(" ", "")
    assert about.count("| cc") == 9
    image = faces[0].render("blue", 64)
    assert image.getpixel((0, 0)) == (143, 193, 238)
