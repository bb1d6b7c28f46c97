import pytest

from anime_lora.generation.prompts import BREAK, LoraTag, Segment, lora_tags, segments, without_editing


@pytest.mark.parametrize(("prompt", "expected"), [
    ("normal text", [("normal text", 1.0)]),
    ("an (important) word", [("an ", 1.0), ("important", 1.1), (" word", 1.0)]),
    ("(unbalanced", [("unbalanced", 1.1)]),
    (r"\(literal\]", [("(literal]", 1.0)]),
    ("(unnecessary)(parens)", [("unnecessaryparens", 1.1)]),
    ("a (((house:1.3)) [on] a (hill:0.5), sun, (((sky))).",
     [("a ", 1.0), ("house", 1.573), (" ", 1.1), ("on", 1.0), (" a ", 1.1), ("hill", 0.55), (", sun, ", 1.1),
      ("sky", 1.4641), (".", 1.1)]),
    (r"saber \(fate\), (smile:1.2)", [("saber (fate), ", 1.0), ("smile", 1.2)]),
    ("((word)) [calm]", [("word", 1.21), (" ", 1.0), ("calm", 1 / 1.1)]),
    ("time 12:30, ratio 1:2)", [("time 12:30, ratio 1:2)", 1.0)]),
    ("closed) never] opened", [("closed) never] opened", 1.0)]),
    (r"a\\b", [("a\\b", 1.0)]),
    ("(x:-0.5)", [("x", -0.5)]),
    ("", []),
])  # fmt: skip
def test_weights_are_read_as_web_uis_read_them(prompt: str, expected: list[tuple[str, float]]) -> None:
    """The first six are those of A1111's own description of its syntax."""
    read = segments(prompt)
    assert [segment.text for segment in read] == [text for text, _ in expected]
    assert [segment.weight for segment in read] == pytest.approx([weight for _, weight in expected])


def test_break_stands_alone_and_keeps_the_weights_around_it() -> None:
    assert segments("(red hair BREAK blue eyes:1.2), BREAKFAST") == [
        Segment("red hair", 1.2),
        Segment(BREAK),
        Segment("blue eyes", 1.2),
        Segment(", BREAKFAST"),
    ]


@pytest.mark.parametrize(("prompt", "text", "tags"), [
    ("girl <lora:style:0.8>", "girl", [LoraTag("style", 0.8)]),
    ("girl <lora:style>", "girl", [LoraTag("style")]),
    ("<lora:a:0.5:1>girl", "girl", [LoraTag("a", 1.0, 0.5)]),
    ("a <lora:x v1.0:te=0:unet=0.7>, b", "a , b", [LoraTag("x v1.0", 0.7, 0.0)]),
    ("<lyco:l:1> <lora:k:-1>", "", [LoraTag("l"), LoraTag("k", -1.0)]),
    ("i <3 you", "i <3 you", []),
])  # fmt: skip
def test_tags_name_loras_with_their_weights(prompt: str, text: str, tags: list[LoraTag]) -> None:
    assert lora_tags(prompt) == (text, tags, [])


@pytest.mark.parametrize("tag", ["<hypernet:x:1>", "<lora:x:strong>"])
def test_a_tag_that_is_not_read_is_named(tag: str) -> None:
    text, tags, (note,) = lora_tags(f"girl {tag}")
    assert (text, tags) == ("girl", [])
    assert tag in note


@pytest.mark.parametrize(("prompt", "text"), [
    ("a [cat:dog:0.2]", "a dog"), ("a [cat:dog:0.7]", "a cat"), ("a [cat:dog:15]", "a cat"), ("[dog:3], b", "dog, b"),
    ("a [cat::0.6]", "a cat"), ("a [cow|horse] x", "a cow x"), ("a AND b", "a, b"),
])  # fmt: skip
def test_prompt_editing_is_replaced_and_named(prompt: str, text: str) -> None:
    replaced, notes = without_editing(prompt)
    assert replaced == text
    assert len(notes) == 1


@pytest.mark.parametrize("prompt", ["[calm] (a:1.2)", r"\[a|b\]", "SAND, [a:b]"])
def test_what_is_no_prompt_editing_stays(prompt: str) -> None:
    assert without_editing(prompt) == (prompt, [])
