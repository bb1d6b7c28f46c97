"""What was computed before comes back as it was, and a broken memo is an empty one."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from anime_lora.data.memo import Memo


@dataclass(frozen=True)
class Numbers:
    value: float


def test_values_come_back_as_they_were(tmp_path: Path) -> None:
    memo = Memo(tmp_path / "memo.jsonl", Numbers)
    memo.put("a", Numbers(1.5))
    memo.save()
    again = Memo(tmp_path / "memo.jsonl", Numbers)
    assert (again["a"], again.get("b"), again.fresh) == (Numbers(1.5), None, 0)


def test_a_memo_is_written_only_when_it_has_something_new(tmp_path: Path) -> None:
    Memo(tmp_path / "memo.jsonl", str).save()
    assert not (tmp_path / "memo.jsonl").exists()


@pytest.mark.parametrize("text", ["{", "[1]\n", '{"key": "a"}\n', '{"key": "a", "value": "no number"}\n'])
def test_a_broken_memo_counts_as_empty(tmp_path: Path, text: str) -> None:
    (tmp_path / "memo.jsonl").write_text(text)
    assert Memo(tmp_path / "memo.jsonl", Numbers).get("a") is None
