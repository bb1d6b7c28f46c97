"""What the tasks make of the stages' files, for Prefect's pages."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from anime_lora.config import paths
from anime_lora.evaluation.claims import Claim
from tasks import stages
from tasks.stages import ClaimRow, claims_page

CLAIM = Claim(
    id="style", claim="The model learned | the style", verdict="shown", metric="S", rule="above 0", reason="It did.",
    value=0.9, text="0.9", interval=(0.8123, 1.0), n=24,
)  # fmt: skip


def test_the_page_has_a_row_for_each_claim_of_the_evaluation() -> None:
    """Read from what evaluate writes; a bar would end the table's cell."""
    unmeasured = Claim("controlnet", "ControlNet", "not measurable here", "identity", "above 0", "No net.")
    written = json.dumps([asdict(CLAIM), asdict(unmeasured)])
    rows = TypeAdapter(list[ClaimRow]).validate_json(written)
    page = claims_page(rows).splitlines()
    assert page[4] == "| The model learned / the style | ✓ shown | S: 0.9 [0.812, 1] | 24 | It did. |"
    assert page[5].startswith("| ControlNet | – not measurable here | identity: ")


def test_the_table_of_metrics_has_a_row_for_each_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shown: dict[str, Any] = {}
    monkeypatch.setattr(stages, "show_table", lambda rows, key, _: shown.update({key: rows}))
    monkeypatch.setattr(stages, "create_markdown_artifact", lambda **_: None)
    paths.EVALUATE.mkdir(parents=True)
    (paths.EVALUATE / "metrics.json").write_text('{"claims_shown": 8, "style": 0.9}')
    (paths.EVALUATE / "claims.json").write_text("[]")
    stages.show_metrics_and_claims()
    assert shown == {"metrics": [{"metric": "claims_shown", "value": 8}, {"metric": "style", "value": 0.9}]}
