"""Params are checked all at once, and each fault says path, value, limit and fix."""

from pathlib import Path

import pytest

from anime_lora.config.load import check_params, load_params, read_document
from anime_lora.errors import ParamsError

PARAMS = Path(__file__).parents[2] / "params.yaml"


def test_params_file_fits() -> None:
    """The file in the repository loads, and its sections are frozen."""
    params = load_params(PARAMS)
    with pytest.raises(Exception, match="frozen"):
        params.train.rank = 1  # type: ignore[misc]


def test_every_fault_is_named_at_once() -> None:
    """Unknown, missing and wrong values are reported together, each with its path, value and limit."""
    document = read_document(PARAMS)
    document["train"] |= {"rnak": 3, "rank": 0, "learning_rate": "fast"}
    del document["resize"]["fit"]
    document["trian"] = {}
    with pytest.raises(ParamsError) as caught:
        check_params(document)
    message = str(caught.value)
    assert message.startswith("params.yaml: 5 values do not fit")
    assert "train.rnak = 3 is unknown: did you mean `rank`?" in message
    assert "train.rank = 0: input should be greater than or equal to 1" in message
    assert "train.learning_rate = 'fast': input should be a valid number" in message
    assert "resize.fit is missing" in message
    assert "trian = {} is unknown: did you mean `train`?" in message


@pytest.mark.parametrize(
    ("section", "name", "value"),
    [("concept", "trigger", "a/b"), ("concept", "class_name", "..\\x"), ("train", "seed", 2**63)],
)
def test_what_would_fail_later_is_refused_here(section: str, name: str, value: object) -> None:
    """A separator would move the files that a name is part of; torch takes no larger seed."""
    document = read_document(PARAMS)
    document[section][name] = value
    with pytest.raises(ParamsError, match=rf"{section}\.{name} = "):
        check_params(document)


def test_text_is_never_taken_for_a_number() -> None:
    """A quoted number is a fault, not a silent conversion."""
    document = read_document(PARAMS)
    document["train"]["rank"] = "16"
    with pytest.raises(ParamsError, match=r"train\.rank = '16'"):
        check_params(document)


def test_short_exponent_is_a_number(tmp_path: Path) -> None:
    """`1e-4`, text for a YAML 1.1 reader, is the number 0.0001 here as it is for DVC."""
    path = tmp_path / "params.yaml"
    path.write_text("train:\n  learning_rate: 1e-4\n")
    assert read_document(path) == {"train": {"learning_rate": 1e-4}}


@pytest.mark.parametrize("name", ["trigger", "class_name"])
@pytest.mark.parametrize(
    "word", ["my:style", "a<b", "a>b", "a,b", "my(style)", "[a]", "{trigger}", "a|b", 'a"b', "a*", "a\u200b"]
)
def test_a_word_that_prompts_or_files_cannot_hold_is_refused_before_training(name: str, word: str) -> None:
    """`<lora:my:style:1>` has another name, `a,b` is two tags; found at the first command, with what to write."""
    document = read_document(PARAMS)
    document["concept"][name] = word
    with pytest.raises(ParamsError, match=rf"concept\.{name} = .*use letters, digits, - and _; change it"):
        check_params(document)


@pytest.mark.parametrize("word", ["myAnimeStyleToken", "sks", "スタイル", "m_y-2.0", "naïve", "o'hara", "a+b"])
def test_words_of_every_script_are_taken(word: str) -> None:
    document = read_document(PARAMS)
    document["concept"]["trigger"] = word
    assert check_params(document).concept.trigger == word


def test_a_name_too_long_for_a_file_is_refused_before_training() -> None:
    """In bytes: a hundred letters of three bytes each. It was found when the LoRA was saved, after the training."""
    document = read_document(PARAMS)
    document["concept"]["trigger"] = "ス" * 100
    with pytest.raises(ParamsError, match=r"concept: trigger and class_name.* take 311 bytes, more than 200; shorten"):
        check_params(document)


def test_the_words_of_the_concept_stand_once() -> None:
    """Prompts name them in braces; prompts that say them themselves stay as they are."""
    document = read_document(PARAMS)
    assert check_params(document).concept.instance_prompt == "myAnimeStyleToken anime_face portrait"
    document["concept"] |= {"trigger": "sks", "class_name": "face"}
    document["train"]["prior_prompt"] = "anime_face, {1|2} of all"
    params = check_params(document)
    assert params.concept.instance_prompt == "sks face portrait"
    assert params.train.validation_prompt == "sks face girl, high quality"
    assert params.train.prior_prompt == "anime_face, {1|2} of all"
    assert document["train"]["validation_prompt"] == "{trigger} {class_name} girl, high quality"


def test_a_name_in_braces_that_stands_for_nothing_is_a_fault() -> None:
    document = read_document(PARAMS)
    document["train"]["validation_prompt"] = "{triger} girl"
    with pytest.raises(ParamsError, match=r"train\.validation_prompt = .*: \{triger\} stands for nothing"):
        check_params(document)


FAULTS = [("a: [1", "not valid YAML"), ("3", "no sections"), (None, "not found")]


@pytest.mark.parametrize(("content", "reason"), FAULTS)
def test_unreadable_file_is_one_clear_error(tmp_path: Path, content: str | None, reason: str) -> None:
    """A missing, broken or empty file is a ParamsError that says which."""
    path = tmp_path / "params.yaml"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ParamsError, match=reason):
        load_params(path)
