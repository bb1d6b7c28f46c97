"""What several of the pocket base's tests share."""

import pytest
from transformers import CLIPTokenizer

from pocket.models.tokenizer import train_tokenizer


@pytest.fixture(scope="session")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> CLIPTokenizer:
    folder = tmp_path_factory.mktemp("tokenizer")
    train_tokenizer(folder)
    return CLIPTokenizer.from_pretrained(folder)
