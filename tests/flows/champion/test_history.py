"""The history's file, and which promotions in it stand."""

from dataclasses import replace
from pathlib import Path

import pytest

from flows.champion.history import (
    HistoryEntry,
    PromotionTest,
    append_entry,
    next_version,
    read_history,
    standing_promotions,
)
from flows.errors import ChampionError
from tests.support.clone import ENTRY

LINE = (
    '{"adapter": "ab", "asked": "schedule", "at": "2026-01-31T03:00:00+00:00", "outcome": "promoted", '
    '"overrides": ["train.rank=8"], "reason": "promoted: S 0.9", "tests": [{"kind": "gate", "name": "drift", '
    '"passed": true, "text": "0.1"}], "version": "v1.0.0", "why": "images: 1 added"}\n'
)


def test_a_rollback_takes_the_last_champion_away_and_no_version_is_given_twice() -> None:
    """Promoted, promoted, rejected, rolled back, promoted: the first and the third version stand."""
    second = replace(ENTRY, version="v2.0.0")
    rejected, back = replace(second, outcome="rejected"), replace(ENTRY, outcome="rolled back")
    entries = [ENTRY, second, rejected, back]
    assert [one.version for one in standing_promotions(entries)] == ["v1.0.0"]
    assert next_version(entries) == "v3.0.0"
    third = replace(ENTRY, version="v3.0.0")
    assert [one.version for one in standing_promotions([*entries, third])] == ["v1.0.0", "v3.0.0"]


def test_history_comes_back_as_written_byte_for_byte(tmp_path: Path) -> None:
    """Lines of earlier versions of this program are in people's repositories."""
    file = tmp_path / "history.jsonl"
    entry = HistoryEntry(
        at="2026-01-31T03:00:00+00:00", outcome="promoted", reason="promoted: S 0.9", asked="schedule",
        why="images: 1 added", version="v1.0.0", adapter="ab", overrides=("train.rank=8",),
        tests=(PromotionTest("gate", "drift", True, "0.1"),),
    )  # fmt: skip
    append_entry(entry, file)
    append_entry(ENTRY, file)
    assert file.read_text(encoding="utf-8").startswith(LINE)
    assert read_history(file) == [entry, ENTRY]


def test_a_line_that_a_person_broke_is_one_message(tmp_path: Path) -> None:
    file = tmp_path / "history.jsonl"
    file.write_text(LINE + LINE.replace('"promoted", ', '"pormoted", '))
    with pytest.raises(ChampionError, match=r"line 2: outcome: .*promoted.*git checkout"):
        read_history(file)
