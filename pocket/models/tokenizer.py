"""CLIP's kind of tokenizer, trained on our captions: lower-case byte-level BPE, so any text has tokens."""

import json
import tempfile
from pathlib import Path

import numpy as np
from tokenizers import Regex, Tokenizer, normalizers, pre_tokenizers
from tokenizers.models import BPE
from tokenizers.trainers import BpeTrainer
from transformers import CLIPTokenizer

from pocket.faces.captions import PROSE, caption
from pocket.faces.character import sample_character
from pocket.faces.domains import DOMAINS
from pocket.models.shapes import TOKENS

VOCABULARY = 1536
SPLIT = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"


def train_tokenizer(folder: Path) -> CLIPTokenizer:
    """Learn the merges and save `vocab.json` and `merges.txt` as CLIP's tokenizer reads them."""
    core = Tokenizer(BPE(end_of_word_suffix="</w>", unk_token=None))
    core.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(SPLIT), "removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = BpeTrainer(
        vocab_size=VOCABULARY, initial_alphabet=sorted(alphabet), end_of_word_suffix="</w>", show_progress=False
    )
    core.train_from_iterator(_text(), trainer)
    model = json.loads(core.to_str())["model"]
    merges = [tuple(merge) if isinstance(merge, list) else tuple(merge.split()) for merge in model["merges"]]
    symbols = [
        *sorted(alphabet),
        *(f"{letter}</w>" for letter in sorted(alphabet)),
        *("".join(merge) for merge in merges),
    ]
    symbols += ["<|startoftext|>", "<|endoftext|>"]
    vocabulary = {symbol: index for index, symbol in enumerate(dict.fromkeys(symbols))}
    with tempfile.TemporaryDirectory() as work:
        files = Path(work)
        (files / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False), encoding="utf-8")
        lines = ["#version: 0.2", *(" ".join(merge) for merge in merges)]
        (files / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
        tokenizer = CLIPTokenizer.from_pretrained(files, model_max_length=TOKENS)
        save_tokenizer(tokenizer, folder)
    return tokenizer


def save_tokenizer(tokenizer: CLIPTokenizer, folder: Path) -> None:
    """Save as `tokenizer.json` and, for older readers, `vocab.json` and `merges.txt`."""
    tokenizer.save_pretrained(folder)
    model = json.loads(tokenizer.backend_tokenizer.to_str())["model"]
    (folder / "vocab.json").write_text(json.dumps(model["vocab"], ensure_ascii=False), encoding="utf-8")
    merges = [" ".join(merge) if isinstance(merge, list) else merge for merge in model["merges"]]
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges]) + "\n", encoding="utf-8")


def _text() -> list[str]:
    rng = np.random.Generator(np.random.PCG64(0))
    captions = [caption(sample_character(seed), DOMAINS[seed % len(DOMAINS)], rng) for seed in range(4000)]
    return captions + [" ".join(PROSE)] * 20
