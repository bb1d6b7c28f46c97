"""What the shared file says about itself: everything the field's tools look for, and where it came from."""

import base64
import io
import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from safetensors import safe_open

from anime_lora.config.section import Base
from anime_lora.diffusion.weight_file import data_hash, read_header
from anime_lora.lora.metadata import (
    Lineage,
    TrainingFacts,
    current_commit,
    kohya_metadata,
    model_spec,
    tag_frequency,
    thumbnail,
)
from tests.support.tiny import CONCEPT, train_settings

KOHYA = [
    "v2",
    "base_model_version",
    "network_module",
    "network_dim",
    "network_alpha",
    "network_args",
    "output_name",
    "sd_model_name",
    "learning_rate",
    "optimizer",
    "lr_scheduler",
    "steps",
    "max_train_steps",
    "epoch",
    "num_epochs",
    "total_batch_size",
    "gradient_accumulation_steps",
    "mixed_precision",
    "seed",
    "clip_skip",
    "min_snr_gamma",
    "noise_offset",
    "resolution",
    "num_train_images",
    "dataset_dirs",
    "bucket_info",
    "tag_frequency",
]
MODEL_SPEC = [
    "sai_model_spec",
    "architecture",
    "title",
    "date",
    "resolution",
    "prediction_type",
    "trigger_phrase",
    "thumbnail",
    "hash_sha256",
]
OURS = ["version", "git_commit", "dataset_sha256", "params_sha256", "base_sha256"]


def repository(folder: Path) -> str:
    """Make `folder` a git repository with one commit of 2026-01-02; returns the commit."""
    author = ["-c", "user.name=n", "-c", "user.email=e@example.org"]
    date = {
        "GIT_COMMITTER_DATE": "2026-01-02T03:04:05Z",
        "GIT_AUTHOR_DATE": "2026-01-02T03:04:05Z",
        "HOME": str(folder),
    }
    for words in (["init", "-q"], [*author, "commit", "-q", "--allow-empty", "-m", "first"]):
        subprocess.run(["git", *words], cwd=folder, check=True, env={"PATH": "/usr/bin:/bin:/usr/local/bin", **date})
    return subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=folder, check=True, capture_output=True, text=True
    ).stdout.strip()


def test_every_key_is_there_and_true(
    stage: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole list, all strings, with the values of this run; the date is the commit's."""
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    sha = repository(tmp_path)
    out = stage(rank=2, alpha=6.0, epochs=1)
    metadata = read_header(out / "t_c.safetensors").metadata
    keys = {f"ss_{n}" for n in KOHYA} | {f"modelspec.{n}" for n in MODEL_SPEC} | {f"anime_lora.{n}" for n in OURS}
    assert keys | {"sshs_model_hash"} <= metadata.keys()
    assert all(isinstance(value, str) for value in metadata.values())
    assert (metadata["ss_network_dim"], metadata["ss_network_alpha"], metadata["ss_steps"]) == ("2", "6.0", "3")
    assert json.loads(metadata["ss_tag_frequency"])["t_c"]["square"] == 6
    assert metadata["modelspec.date"] == "2026-01-02T03:04:05"
    assert metadata["modelspec.hash_sha256"] == "0x" + metadata["sshs_model_hash"]
    assert metadata["sshs_model_hash"] == data_hash(out / "t_c.safetensors")
    assert metadata["anime_lora.git_commit"] == sha
    assert sha in (out / "README.md").read_text()


def test_every_published_file_states_its_lineage(stage: Callable[..., Path]) -> None:
    """diffusers' file and each kept epoch's: specification, thumbnail, hashes; rsLoRA's alpha as readers use it."""
    out = stage(epochs=1, keep_epochs=True, rslora=True, rank=4, alpha=3.0)
    keys = {f"modelspec.{n}" for n in MODEL_SPEC} - {"modelspec.date"}
    keys |= {f"anime_lora.{n}" for n in OURS} - {"anime_lora.git_commit"} | {"sshs_model_hash"}
    for file in (out / "pytorch_lora_weights.safetensors", out / "epochs" / "epoch-01.safetensors"):
        metadata = read_header(file).metadata
        assert keys <= metadata.keys()
        assert metadata["sshs_model_hash"] == data_hash(file)
    assert metadata["ss_network_alpha"] == "6.0"
    with safe_open(out / "t_c.safetensors", "pt") as file:
        assert {float(file.get_tensor(name)) for name in file.keys() if name.endswith(".alpha")} == {6.0}  # noqa: SIM118


def test_the_thumbnail_is_a_small_jpeg(stage: Callable[..., Path]) -> None:
    """A data URI of at most 256 px that is the published epoch's first sample."""
    metadata = read_header(stage(epochs=1) / "t_c.safetensors").metadata
    kind, data = metadata["modelspec.thumbnail"].split(",")
    assert kind == "data:image/jpeg;base64"
    with Image.open(io.BytesIO(base64.b64decode(data))) as image:
        assert image.format == "JPEG"
        assert image.size == (64, 64)


def facts(base: str = "some/base", stable_diffusion_2: bool = False, **changes: object) -> TrainingFacts:
    """Of a run on three captions, after its first epoch."""
    return TrainingFacts(
        settings=train_settings(**changes),
        concept=CONCEPT,
        base=Base(model=base, revision=None, resolution=64),
        captions=["t c, red, square", "t c, blue", "t c"],
        prior_images=4,
        epoch=1,
        steps=3,
        total_steps=6,
        prediction_type="epsilon",
        stable_diffusion_2=stable_diffusion_2,
    )


def test_kohyas_keys_follow_from_the_facts() -> None:
    """Counts, steps and rsLoRA's alpha as a reader uses it: alpha·√rank; the convolutions' only where there are any."""
    metadata = kohya_metadata(facts(rank=4, alpha=3.0, rslora=True, target="all-linear+conv"))
    assert (metadata["ss_steps"], metadata["ss_max_train_steps"], metadata["ss_epoch"]) == ("3", "6", "1")
    assert (metadata["ss_num_train_images"], metadata["ss_num_reg_images"]) == ("3", "4")
    assert metadata["ss_network_alpha"] == "6.0"
    args = json.loads(metadata["ss_network_args"])
    assert args == {"target": "all-linear+conv", "conv_dim": 4, "conv_alpha": 6.0, "rslora": True, "dora": False}
    assert "conv_dim" not in json.loads(kohya_metadata(facts(target="attn"))["ss_network_args"])


def test_tags_are_counted_the_most_frequent_first() -> None:
    """Equally frequent ones by name; empty parts of a caption are none."""
    counts = tag_frequency(["a, c", "a,b", "", "a,, b "])
    assert list(counts.items()) == [("a", 3), ("b", 2), ("c", 1)]


def test_a_stable_diffusion_2_adapter_says_so() -> None:
    """Web UIs choose by it which bases a LoRA is offered for."""
    assert kohya_metadata(facts(stable_diffusion_2=True))["ss_base_model_version"] == "sd_v2"
    assert model_spec(facts(stable_diffusion_2=True), "")["modelspec.architecture"] == "stable-diffusion-v2-512/lora"
    assert model_spec(facts(), "")["modelspec.architecture"] == "stable-diffusion-v1/lora"


def test_no_path_of_this_machine_stands_in_a_shared_file(tmp_path: Path) -> None:
    """Of a base in an absolute folder only the name; a hub id is whole."""
    assert kohya_metadata(facts(str(tmp_path / "base")))["ss_sd_model_name"] == "base"
    assert kohya_metadata(facts())["ss_sd_model_name"] == "some/base"


def test_source_date_epoch_wins_over_the_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """https://reproducible-builds.org/specs/source-date-epoch/; what is no number is passed over."""
    repository(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "0")
    assert model_spec(facts(), "")["modelspec.date"] == "1970-01-01T00:00:00"
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "yesterday")
    assert model_spec(facts(), "")["modelspec.date"] == "2026-01-02T03:04:05"


def test_outside_a_repository_there_is_neither_commit_nor_date(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    assert current_commit(tmp_path) is None
    assert "modelspec.date" not in model_spec(facts(), "")
    lineage = Lineage(version="1", commit=None, dataset_sha256="d", params_sha256="p", base_sha256="b")
    assert set(lineage.metadata()) == {f"anime_lora.{n}" for n in OURS} - {"anime_lora.git_commit"}


def test_a_large_first_sample_becomes_a_small_thumbnail(tmp_path: Path) -> None:
    """The left square of a strip, at most 256 px."""
    strip = Image.new("RGB", (1024, 512), "blue")
    strip.paste("red", (0, 0, 512, 512))
    strip.save(tmp_path / "strip.png")
    content = base64.b64decode(thumbnail(tmp_path / "strip.png").split(",")[1])
    with Image.open(io.BytesIO(content)) as image:
        assert image.size == (256, 256)
        red, green, blue = image.getpixel((128, 128))
    assert red > 240
    assert max(green, blue) < 15
