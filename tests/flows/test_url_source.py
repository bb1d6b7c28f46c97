"""A source that is a URL: DVC cannot look into it, so a night that finds it changed reads it itself."""

import pytest

from anime_lora.files import read_jsonl
from tests.data.conftest import image
from tests.support.nightly import Nightly


@pytest.mark.slow
def test_a_new_image_behind_a_url_is_trained_on(nightly: Nightly) -> None:
    more = nightly.root.parent / "more"
    more.mkdir()
    image(500).save(more / "500.png")
    nightly.set("ingest.sources", ["faces", f"file://{more}"])
    nightly.commit("Take images from elsewhere too")
    nightly.retrain()
    image(501).save(more / "501.png")
    nightly.next_training(quality=0.1)
    nightly.retrain()
    seen = read_jsonl(nightly.root / "data" / "ingest" / "manifest.jsonl")
    assert [row["path"] for row in seen if row["source"] != "faces"] == ["500.png", "501.png"]
    assert nightly.history()[-1]["why"] == "images: 1 added"
    assert nightly.clean()
    assert "Skipped: no new data" in nightly.retrain()
