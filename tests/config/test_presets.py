"""Presets change values and nothing else, fit the params, and undo each other byte for byte."""

import shutil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from anime_lora.cli import app, guarded
from anime_lora.config.load import load_params, read_document
from anime_lora.config.presets import FOLDER, apply, names, replace_values, values
from anime_lora.errors import EXIT_CODE, ParamsError

ROOT = Path(__file__).parents[2]
PARAMS = (ROOT / "params.yaml").read_text()


def preset_values(name: str) -> dict[str, str]:
    """Dotted path and source text of everything a preset sets."""
    return {path: value.text for path, value in values((ROOT / FOLDER / f"{name}.yaml").read_text()).items()}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of params.yaml and presets/, set to pocket, as the working directory."""
    shutil.copy(ROOT / "params.yaml", tmp_path)
    shutil.copytree(ROOT / FOLDER, tmp_path / FOLDER)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_pocket_is_what_the_repository_holds() -> None:
    """presets/pocket.yaml and params.yaml say the same for each of its keys: tune both together."""
    here = {path: value.text for path, value in values(PARAMS).items()}
    pocket = preset_values("pocket")
    assert {path: here[path] for path in pocket} == pocket


def test_pocket_has_every_key_another_preset_sets() -> None:
    """`preset pocket` can bring everything back."""
    assert {"pocket", "sd15"} <= set(names(ROOT / FOLDER))
    for name in names(ROOT / FOLDER):
        assert preset_values(name).keys() == preset_values("pocket").keys(), name


def test_there_and_back_is_the_same_file(project: Path) -> None:
    """sd15, then pocket: the bytes of before; both fit the models; sd15 twice changes nothing more."""
    assert apply("sd15")
    first = (project / "params.yaml").read_bytes()
    found = load_params(Path("params.yaml"))
    assert apply("sd15") == []
    assert (project / "params.yaml").read_bytes() == first
    apply("pocket")
    assert (project / "params.yaml").read_text() == PARAMS
    train = found.train
    assert (found.base.model, found.base.resolution) == ("stable-diffusion-v1-5/stable-diffusion-v1-5", 512)
    assert (train.rank, train.learning_rate, train.epochs, train.checkpoint_every) == (16, 1e-4, 5, 500)
    assert (train.batch_size, train.gradient_accumulation_steps, train.target) == (1, 2, "attn")


def test_only_lines_of_changed_values_change(project: Path) -> None:
    """A preset's diff is one line per value; its comment stays, in its column where the value leaves room."""
    changes = apply("sd15")
    before, after = PARAMS.splitlines(), (project / "params.yaml").read_text().splitlines()
    differing = [(old, new) for old, new in zip(before, after, strict=True) if old != new]
    assert len(differing) == len(changes)
    for old, new in differing:
        assert old.partition(" # ")[2] == new.partition(" # ")[2]
    assert "  precision: bf16                       # of the frozen base: fp32, bf16 or fp16" in "\n".join(after)


def test_other_edits_of_the_user_stay(project: Path) -> None:
    """What someone changed and commented elsewhere is not the preset's business."""
    mine = PARAMS.replace("  seed: 1  ", "  seed: 77 ", 1) + "# my note\n"
    (project / "params.yaml").write_text(mine)
    apply("sd15")
    apply("pocket")
    assert (project / "params.yaml").read_text() == mine


def test_block_list_of_the_user_is_replaced(project: Path) -> None:
    """A list written one item per line is one value like any other; the comment after it stays."""
    mine = PARAMS.replace("encoders: [data/base/pocket-clip]  ", "encoders:  # two\n    - a\n    - b\n  # kept\n ", 1)
    (project / "params.yaml").write_text(mine)
    apply("pocket")
    assert read_document(project / "params.yaml") == read_document(ROOT / "params.yaml")
    assert "  # kept\n" in (project / "params.yaml").read_text()


@pytest.mark.parametrize("name", ["sd", "", "../params"])
def test_unknown_preset_is_one_error_that_names_them(project: Path, name: str) -> None:
    """The error lists the presets, and params.yaml is as it was."""
    with pytest.raises(ParamsError, match="the presets are: pocket, sd15"):
        apply(name)
    assert (project / "params.yaml").read_text() == PARAMS


def test_preset_that_does_not_fit_writes_nothing(project: Path) -> None:
    """A preset with a value that is wrong or has no place ends in an error that names it; params.yaml is as it was."""
    (project / FOLDER / "bad.yaml").write_text("train:\n  rank: 0\n")
    (project / FOLDER / "lost.yaml").write_text("train:\n  rnak: 3\n")
    with pytest.raises(ParamsError, match=r"train\.rank = 0"):
        apply("bad")
    with pytest.raises(ParamsError, match=r"sets train\.rnak, which params.yaml lacks"):
        apply("lost")
    assert (project / "params.yaml").read_text() == PARAMS


@given(st.data())
@settings(max_examples=12, deadline=None)
def test_any_values_there_and_back(data: st.DataObject) -> None:
    """Whatever values are written, writing the first ones again gives the first text."""
    here = values(PARAMS)
    single = [path for path, value in here.items() if "\n" not in value.text]
    chosen = data.draw(st.lists(st.sampled_from(single), min_size=1, max_size=12, unique=True))
    texts = st.sampled_from(["1", "null", "1.0e-4", "[a, b]", "x" * 30, "x" * 34, "x" * 80, '"a # b"'])
    wanted = {path: data.draw(texts) for path in chosen}
    there = replace_values(PARAMS, wanted)
    assert {path: values(there)[path].text for path in chosen} == wanted
    assert replace_values(there, {path: here[path].text for path in chosen}) == PARAMS


def test_command_says_what_it_changed(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`preset sd15` prints each change; an unknown name ends in one line and the exit code of a user's mistake."""
    run = CliRunner().invoke(app, ["preset", "sd15"])
    assert run.exit_code == 0
    assert "base.model: data/base/pocket -> stable-diffusion-v1-5/stable-diffusion-v1-5" in run.output
    with pytest.raises(SystemExit) as ended:
        guarded(lambda: app(["preset", "nothing"], standalone_mode=False))
    assert ended.value.code == EXIT_CODE
    assert capsys.readouterr().err.startswith("error: there is no preset nothing")
