"""The commands about LoRA files, as a person types them."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from anime_lora.cli import app
from anime_lora.errors import AdapterError, ParamsError
from anime_lora.lora.weights import read_weights
from tests.support import lora_files as files
from tests.support.tiny import tiny_pipeline

PIPE = tiny_pipeline()


def run(*words: object, code: int = 0) -> str:
    result = CliRunner().invoke(app, [str(word) for word in words])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == code, result.output
    return result.output


def test_a_lora_goes_through_every_command(tiny_base: Path, tmp_path: Path) -> None:
    """Merged, converted, made smaller, fused, extracted, and each file verified on its base."""
    one, two = (files.write(tmp_path, "linear", PIPE, seed) for seed in (1, 2))
    merged, converted, small, out = (tmp_path / f"{name}.safetensors" for name in ("m", "c", "s", "x"))
    assert "3 modules" in run("merge", f"{one}:0.7", f"{two}:0.5", "-o", merged)
    run("convert", merged, "--to", "diffusers", "-o", converted)
    assert "of the energy kept" in run("resize-adapter", converted, "--rank", "2", "-o", small)
    run("fuse", f"{small}:1.0", "--base", tiny_base, "-o", tmp_path / "fused")
    assert "energy kept" in run("extract", tmp_path / "fused", "--base", tiny_base, "--rank", "2", "-o", out)
    for file in (merged, converted, small, out):
        assert "all 3 modules fit" in run("verify", file, "--base", tiny_base)
    expected = read_weights(small).modules
    for name, weights in read_weights(out).modules.items():
        assert float((weights.delta() - expected[name].delta()).abs().max()) < 1e-3


def test_a_file_that_is_not_usable_has_exit_code_1(tiny_base: Path, tmp_path: Path) -> None:
    (tmp_path / "x.safetensors").write_text("<html>Sign in</html>")
    output = run("verify", tmp_path / "x.safetensors", "--base", tiny_base, code=1)
    assert output.startswith("file  fails ")
    assert "is a web page" in output


def test_a_resize_needs_a_rank_or_an_energy(tmp_path: Path) -> None:
    path = files.write(tmp_path, "linear", PIPE)
    with pytest.raises(AdapterError, match=r"needs --rank, such as 8, or --energy"):
        run("resize-adapter", path, "-o", tmp_path / "b.safetensors")


def test_who_types_the_stage_s_name_for_a_lora_is_told_the_command(tmp_path: Path) -> None:
    with pytest.raises(ParamsError, match=r"`anime-lora resize-adapter FILE --rank 8 -o OUT`"):
        run("resize", tmp_path / "a.safetensors", "--rank", "8", "-o", tmp_path / "b.safetensors")
