"""What was computed before comes back as it was, also after a kill, and a broken line costs only itself."""

import subprocess
import sys
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


def test_a_value_is_on_the_disk_when_the_process_is_killed(tmp_path: Path) -> None:
    code = (
        "import os, pathlib, signal; from anime_lora.data.memo import Memo\n"
        "memo = Memo(pathlib.Path('memo.jsonl'), int)\n"
        "for number in range(5): memo.put(str(number), number)\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=False)
    memo = Memo(tmp_path / "memo.jsonl", int)
    assert [memo.get(str(number)) for number in range(5)] == list(range(5))


def test_a_memo_is_written_only_when_it_has_something_new(tmp_path: Path) -> None:
    Memo(tmp_path / "memo.jsonl", str).save()
    assert not (tmp_path / "memo.jsonl").exists()


def test_a_value_without_a_key_is_counted_and_not_stored(tmp_path: Path) -> None:
    memo = Memo(tmp_path / "memo.jsonl", str)
    memo.put(None, "passing")
    assert memo.fresh == 1
    assert not (tmp_path / "memo.jsonl").exists()


@pytest.mark.parametrize("text", ["{", "[1]\n", '{"key": "a"}\n', '{"key": "a", "value": "no number"}\n', "\ud800"])
def test_a_broken_line_costs_only_itself(tmp_path: Path, text: str) -> None:
    """Also one that was cut short, where the next value follows."""
    path = tmp_path / "memo.jsonl"
    path.write_bytes(b'{"key": "b", "value": {"value": 2.0}}\n' + text.encode(errors="surrogatepass"))
    memo = Memo(path, Numbers)
    assert (memo.get("a"), memo["b"]) == (None, Numbers(2.0))
    memo.put("c", Numbers(3.0))
    again = Memo(path, Numbers)
    assert (again["b"], again["c"]) == (Numbers(2.0), Numbers(3.0))


def test_a_file_of_many_old_lines_becomes_small(tmp_path: Path) -> None:
    path = tmp_path / "memo.jsonl"
    memo = Memo(path, int)
    for number in range(10):
        memo.put("a", number)
    again = Memo(path, int)
    again.save()
    assert path.read_text() == '{"key": "a", "value": 9}\n'


def test_a_full_disk_is_an_error_and_what_was_stored_stays(tmp_path: Path) -> None:
    """A short write raises nothing of itself."""
    code = (
        "import pathlib, resource; from anime_lora.data.memo import Memo\n"
        "memo = Memo(pathlib.Path('memo.jsonl'), int)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (90, 90))\n"
        "for number in range(10): memo.put(str(number), number)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "no space left in" in done.stderr
    memo = Memo(tmp_path / "memo.jsonl", int)
    assert [memo.get(str(number)) for number in range(4)] == [0, 1, 2, None]
