"""What the tasks make of the stages' files, for Prefect's pages."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from anime_lora.config import paths
from anime_lora.data.manifest import ClusterMember, QuarantinedFile
from anime_lora.data.quality.contact_sheet import contact_sheet
from anime_lora.evaluation.claims import Claim
from anime_lora.files import write_jsonl
from tasks import artifacts, stages
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


def test_what_was_set_aside_is_shown_as_a_table_and_an_image_beside_the_clusters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    tables: dict[str, Any] = {}
    images: list[dict[str, str]] = []
    monkeypatch.setattr(stages, "show_table", lambda rows, key, _: tables.update({key: rows}))
    monkeypatch.setattr(artifacts, "create_image_artifact", lambda **values: images.append(values))
    monkeypatch.setattr(stages, "committed_manifest", lambda target: None)
    paths.VALIDATE.mkdir(parents=True)
    rejects = [QuarantinedFile(None, "in", "words.png", "ingest", None, None, "no image")]
    write_jsonl(paths.VALIDATE / QuarantinedFile.FILE, rejects)
    write_jsonl(paths.VALIDATE / ClusterMember.FILE, [ClusterMember("a", "a", "in", "a.png", True)])
    stages.show_rejects_and_changes()
    assert images == []
    (paths.VALIDATE / paths.SET_ASIDE).write_bytes(contact_sheet(rejects, {}))
    stages.show_rejects_and_changes()
    assert [row["reason"] for row in tables["rejects"]] == ["no image"]
    assert [row["path"] for row in tables["clusters"]] == ["a.png"]
    assert [image["key"] for image in images] == ["set-aside"]
    assert images[0]["image_url"].startswith("data:image/webp;base64,")
