"""The report is one page that needs nothing else and says everything the claims say."""

import json
import re
from base64 import b64encode
from html.parser import HTMLParser
from unittest.mock import ANY

import pytest

from anime_lora.data.manifest import ClusterMember, QuarantinedFile
from anime_lora.data.quality.contact_sheet import contact_sheet
from anime_lora.files import write_bytes, write_jsonl
from tests.support.world import World, learned, untrained


class Page(HTMLParser):
    """Addresses of a page, and how many of its images have no alternative text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.without_alt = 0
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Collect."""
        found = dict(attrs)
        self.addresses += [str(found[name]) for name in ("src", "href", "srcset", "action") if found.get(name)]
        self.without_alt += tag == "img" and "alt" not in found


@pytest.fixture
def html(world: World) -> str:
    world.generate(learned)
    world.evaluate()
    return (world.out / "report.html").read_text(encoding="utf-8")


def test_the_page_loads_nothing_from_elsewhere(html: str) -> None:
    page = Page(html)
    assert not [a for a in page.addresses if not a.startswith(("data:", "#"))]
    assert not re.findall(r"url\((?!['\"]?data:)[^)]*\)|@import", html)
    assert any(a.startswith("data:image/") for a in page.addresses)


def test_every_image_has_words(html: str) -> None:
    assert Page(html).without_alt == 0


def test_every_claim_stands_on_it_with_verdict_interval_and_n(html: str, world: World) -> None:
    claims = json.loads((world.out / "claims.json").read_text())
    assert len(claims) >= 12
    for claim in claims:
        assert claim["claim"] in html or claim["claim"].replace("'", "&#39;") in html
    text = re.sub(r"<[^>]+>", " ", html)
    for verdict in {claim["verdict"] for claim in claims}:
        assert text.count(verdict) >= sum(claim["verdict"] == verdict for claim in claims)
    for claim in claims:
        if claim["interval"]:
            assert claim["n"]


def test_it_is_readable_light_and_dark_and_on_a_phone(html: str) -> None:
    assert "prefers-color-scheme: dark" in html
    assert re.search(r'<meta name="viewport" content="width=device-width', html)


def test_it_says_which_data_params_base_and_code_made_it(html: str, world: World) -> None:
    record = json.loads((world.train / "record.json").read_text())
    assert record["base"]["model"] in html
    assert "Lineage" in html


def test_the_same_run_writes_the_same_bytes(html: str, world: World) -> None:
    world.evaluate()
    assert (world.out / "report.html").read_text(encoding="utf-8") == html


def test_a_lora_that_learned_nothing_claims_nothing(world: World) -> None:
    world.generate(untrained, effect=0.0)
    world.evaluate()
    claims = json.loads((world.out / "claims.json").read_text())
    assert not [c["id"] for c in claims if c["id"] in {"style", "trigger", "scale"} and c["verdict"] == "shown"]
    assert abs(json.loads((world.out / "metrics.json").read_text())["style"]) < 0.05


def test_text_from_captions_cannot_break_out(world: World) -> None:
    world.generate(learned)
    record = json.loads((world.train / "record.json").read_text())
    record["base"]["model"] = '<script>alert("x")</script>'
    (world.train / "record.json").write_text(json.dumps(record))
    world.evaluate()
    html = (world.out / "report.html").read_text(encoding="utf-8")
    assert '<script>alert("x")' not in html


def test_the_dataset_section_tells_what_changed_since_the_champions_version(world: World) -> None:
    """The champion's scores remember its dataset: added and re-captioned images and drift are named."""
    world.generate(learned)
    world.evaluate()
    assert "There is no earlier version to compare with" in (world.out / "report.html").read_text()
    champion = json.loads((world.out / "scores.json").read_text())
    first, *rest = champion["dataset"]
    champion["dataset"] = [{**rest[0], "caption": "boy, before"}, *rest[1:]]
    (world.folder / "champion.json").write_text(json.dumps(champion))
    world.evaluate(champion=str(world.folder / "champion.json"))
    section = json.loads((world.out / "report.json").read_text())["dataset"]
    assert "1 added, 0 removed, 1 captioned anew" in section["sentence"]
    assert [row["change"] for row in section["changes"]] == ["added", "captioned anew"]
    assert section["changes"][0]["image"] == first["path"]
    assert {row["measure"] for row in section["drift"]} == {"contrast", "sharpness", "short_side"}
    assert "boy, before" in (world.out / "report.html").read_text()


def test_what_was_set_aside_is_shown_with_its_reasons_and_the_clusters(world: World) -> None:
    world.generate(learned)
    rows = [
        QuarantinedFile("a" * 64, "in", "small <b>.png", "short_side", 64, 128, "shorter side is 64 px"),
        *(QuarantinedFile(None, "in", f"{i}.txt", "ingest", None, None, "no image") for i in range(50)),
    ]
    write_jsonl(world.validate / "quarantine.jsonl", rows)
    write_bytes(world.validate / "set_aside.webp", contact_sheet(rows, {}))
    members = [ClusterMember("a", str(i), "in", f"alike-{i}.png", i < 8) for i in range(9)]
    write_jsonl(world.validate / "clusters.jsonl", members)
    world.evaluate()
    report = json.loads((world.out / "report.json").read_text())
    assert report["set_aside"]["sentence"] == "51 files are not used: 50 by ingest, 1 by short_side."
    assert report["set_aside"]["more"] == 11
    assert report["clusters"] == [{"copies": "alike-8.png", "images": ANY}]
    assert report["clusters"][0]["images"].endswith("alike-5.png and 2 more")
    html = (world.out / "report.html").read_text()
    assert "small &lt;b&gt;.png" in html
    assert f"data:image/webp;base64,{b64encode((world.validate / 'set_aside.webp').read_bytes()).decode()}" in html
