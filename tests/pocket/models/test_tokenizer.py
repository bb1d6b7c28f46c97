"""Any prompt tokenizes, and nothing of it is lost."""

import pytest
from transformers import CLIPTokenizer


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
