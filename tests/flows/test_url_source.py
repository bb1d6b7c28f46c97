"""A source that is a URL: DVC cannot look into it, so a night that finds it changed reads it itself."""

import pytest

from anime_lora.data.source_diff import FileHash, SourceChanges
from anime_lora.files import read_jsonl
from flows.pipeline import unseen
from tests.data.conftest import image
from tests.support.nightly import Nightly


@pytest.mark.parametrize(("source", "forced"), [("s3://bucket/faces", {"ingest"}), ("faces", set())])
def test_ingest_is_forced_for_what_dvc_cannot_see(source: str, forced: set[str]) -> None:
    """An image that came, went or changed behind a URL; a folder's is DVC's to find."""
    files = [FileHash(source, "1.png", 1, None)]
    for changes in (SourceChanges(files, [], []), SourceChanges([], files, []), SourceChanges([], [], files)):
        assert unseen(changes) == forced
    assert unseen(SourceChanges([], [], [])) == set()


@pytest.mark.slow
def test_a_new_image_behind_a_url_is_trained_on(nightly: Nightly) -> None:
    more = nightly.root.parent / "more"
    more.mkdir()
    image(500).save(more / "500.png")
    nightly.set("ingest.sources", ["faces", f"file://{more}"])
    nightly.commit("Take images from elsewhere too")
    nightly.retrain()
    image(501).save(more / "501.png")
    nightly.mood(quality=0.1)
    nightly.retrain()
    seen = read_jsonl(nightly.root / "data" / "ingest" / "manifest.jsonl")
    assert [row["path"] for row in seen if row["source"] != "faces"] == ["500.png", "501.png"]
    assert nightly.history()[-1]["why"] == "images: 1 added"
    assert nightly.clean()
    assert "Skipped: no new data" in nightly.retrain()
