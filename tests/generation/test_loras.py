import shutil
from pathlib import Path

import pytest

from anime_lora.errors import SamplingError
from anime_lora.generation.loras import LoraChoice, LoraFile, LoraLibrary, project_lora


def test_the_name_of_diffusers_file_is_that_of_the_file_beside_it(project: Path) -> None:
    assert project_lora().file == Path("data/train/pytorch_lora_weights.safetensors")
    assert project_lora().name == "myStyle_face"


def test_the_champion_comes_before_what_was_just_trained(project: Path, lora_file: Path) -> None:
    Path("models/champion").mkdir(parents=True)
    shutil.copyfile(lora_file, "models/champion/pytorch_lora_weights.safetensors")
    assert project_lora().file.parent == Path("models/champion")


def test_a_name_means_the_file_of_that_hash_else_the_first(project: Path) -> None:
    library = LoraLibrary([Path("other"), Path("data/train")])
    assert library.by_name("myStyle_face").file.name == "pytorch_lora_weights.safetensors", "whose weights are fp32"
    file = Path("data/train/myStyle_face.safetensors")
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    found = LoraLibrary(library.folders).find("myStyle_face", LoraFile(file).sha256[:12])
    assert found is not None
    assert found.file == file


@pytest.mark.parametrize(("text", "weight"), [("F", 1.0), ("F:0.7", 0.7), ("F:-1", -1.0), ("myStyle_face:.5", 0.5)])
def test_a_weight_stands_behind_the_file(project: Path, text: str, weight: float) -> None:
    choice = LoraLibrary([Path("data/train")]).choose(text.replace("F", "data/train/myStyle_face.safetensors"))
    assert choice.weight == weight
    assert choice.lora.name == "myStyle_face"


def test_a_file_whose_name_holds_a_colon_is_a_file(project: Path, lora_file: Path) -> None:
    shutil.copyfile(lora_file, "a:0.5")
    assert LoraLibrary([]).choose("a:0.5").weight == 1.0
    with pytest.raises(SamplingError, match="no such file"):
        LoraLibrary([]).choose("b:0.5")


def test_a_name_that_a_tag_cannot_hold_is_written_otherwise(project: Path, lora_file: Path) -> None:
    shutil.copyfile(lora_file, "data/train/a,b<1>:2.safetensors")
    lora = LoraFile(Path("data/train/a,b<1>:2.safetensors"))
    assert lora.name == "a_b_1__2"
    assert LoraLibrary([Path("data/train")]).by_name("a_b_1__2").file == lora.file


def test_a_tag_says_both_weights_where_they_differ(lora_file: Path) -> None:
    lora = LoraFile(lora_file)
    assert LoraChoice(lora, 0.8).tag == "<lora:pytorch_lora_weights:0.8>"
    assert LoraChoice(lora, 0.8, 0.5).tag == "<lora:pytorch_lora_weights:0.5:0.8>"
