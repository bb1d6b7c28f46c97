"""Nights in a row on one project, real Git, DVC and Prefect. Each test goes on where the last ended."""

import resource
import sys

import pytest

from anime_lora.files import sha256_file
from flows.runtime.lock import run_lock
from tests.support.nightly import Nightly, webhook

pytestmark = pytest.mark.slow  # ten nights, each some commands of DVC and a Prefect server
NEW = iter(range(200, 300))
BLOCK = """
import sys
from flows.runtime import prefect_env
prefect_env.set_prefect_environment()
from prefect.blocks.notifications import CustomWebhookNotificationBlock as Webhook
Webhook(name="nights", url=sys.argv[1], json_data={"event": "{{subject}}", "text": "{{body}}"}).save("nights")
"""
CLOSED = "http://127.0.0.1:9"
"""Nothing listens on the port that discards."""


def spent() -> float:
    """Processor seconds of all commands so far: what they take on an idle machine."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def night(nightly: Nightly, *options: str, new: int = 1, check: bool = True, **training: object) -> str:
    """Add images and retrain, training as the keywords say."""
    for _ in range(new):
        nightly.add(next(NEW))
    nightly.next_training(**training)
    return nightly.retrain(*options, check=check)


def theirs(nightly: Nightly) -> set[str]:
    """Branches and tags on the remote."""
    return set(
        nightly.run("git", "--git-dir", "../origin.git", "for-each-ref", "--format=%(refname:short)").stdout.split()
    )


def test_the_first_night_publishes_a_champion_and_sends_it(nightly: Nightly) -> None:
    said = night(nightly, new=0)
    assert "Promoted: promoted: S " in said
    assert nightly.clean()
    assert [entry["version"] for entry in nightly.history()] == ["v1.0.0"]
    assert nightly.tags() == ["anime-lora#champion#1", "anime-lora@v1.0.0"]
    assert {"anime-lora#champion#1", "anime-lora@v1.0.0"} < theirs(nightly)
    missing = nightly.run(sys.executable, "-m", "dvc", "status", "--cloud", "--quiet", check=False)
    assert missing.returncode == 0, "a commit points at data that is not on the remote"


def test_nothing_new_is_skipped_in_seconds_without_a_commit(nightly: Nightly) -> None:
    head, before = nightly.head(), spent()
    said = nightly.retrain()
    seconds = spent() - before
    assert "Skipped: no new data" in said
    assert "Running stage" not in said
    assert nightly.head() == head
    assert nightly.clean()
    assert seconds < 10, f"{seconds:.1f} s"


def test_a_better_challenger_is_one_version_further(nightly: Nightly) -> None:
    commits = int(nightly.run("git", "rev-list", "--count", "HEAD").stdout)
    assert "Promoted: promoted: S " in night(nightly, "--reason", "schedule", quality=0.1)
    entry = nightly.history()[-1]
    assert (entry["version"], entry["outcome"], entry["why"]) == ("v2.0.0", "promoted", "images: 1 added")
    assert int(nightly.run("git", "rev-list", "--count", "HEAD").stdout) == commits + 1
    assert {"anime-lora#champion#2", "anime-lora@v2.0.0"} < set(nightly.tags())
    trained = sha256_file(nightly.root / "data" / "train" / "pytorch_lora_weights.safetensors")
    assert nightly.champion()["pytorch_lora_weights.safetensors"] == trained == entry["adapter"]


def test_dvc_then_finds_nothing_to_do(nightly: Nightly) -> None:
    lock = nightly.lock()
    assert nightly.repro() == []
    assert nightly.lock() == lock
    assert nightly.clean()


def test_a_worse_challenger_is_rejected_and_the_champion_unchanged(nightly: Nightly) -> None:
    before, head = nightly.champion(), nightly.head()
    with webhook() as (address, received):
        nightly.environment["ANIME_LORA_NOTIFY"] = address
        assert "Rejected: the champion stays: better style than the champion" in night(nightly, quality=0.05)
    entry = nightly.history()[-1]
    assert (entry["version"], entry["outcome"]) == ("v2.0.0", "rejected")
    assert entry["reason"].startswith("the champion stays: better style than the champion (S ")
    assert nightly.champion() == before
    assert nightly.head() != head
    assert nightly.clean()
    assert "anime-lora@v3.0.0" not in nightly.tags()
    assert [one["event"] for one in received] == ["rejected"]


def test_rollback_brings_the_previous_champions_bytes_back(nightly: Nightly) -> None:
    first = next(entry for entry in nightly.history() if entry["version"] == "v1.0.0")
    pointer = nightly.run("git", "show", "anime-lora@v1.0.0:models/champion.dvc").stdout
    said = nightly.run(sys.executable, "-m", "flows", "rollback", "--reason", "a user complained").stdout
    assert "v2.0.0 goes, v1.0.0 is back" in said
    assert nightly.champion()["pytorch_lora_weights.safetensors"] == first["adapter"]
    assert (nightly.root / "models" / "champion.dvc").read_text() == pointer
    assert nightly.history()[-1]["outcome"] == "rolled back"
    assert nightly.clean()
    assert (
        nightly.run("git", "rev-parse", "anime-lora#champion#3^{}").stdout
        == nightly.run("git", "rev-parse", "anime-lora@v1.0.0^{}").stdout
    )
    again = nightly.run(sys.executable, "-m", "flows", "rollback", check=False)
    assert (again.returncode, "Traceback" in again.stdout) == (1, False)
    assert "there is no champion before v1.0.0" in again.stdout


def test_a_challenger_that_does_not_generate_is_withdrawn(nightly: Nightly) -> None:
    before = nightly.champion()
    said = night(nightly, check=False, quality=0.2, broken=True)
    assert "failed: smoke test of the published file: " in said
    assert "Traceback" not in said
    assert nightly.champion() == before
    entry = nightly.history()[-1]
    assert (entry["outcome"], entry["version"]) == ("rejected", "v1.0.0")
    assert "smoke test of the published file" in entry["reason"]
    assert nightly.clean()


def test_a_failing_stage_ends_the_night_and_the_next_one_takes_its_images(nightly: Nightly) -> None:
    """A notification block of Prefect's, saved on the server, carries the reason to where people read it."""
    head = nightly.head()
    with webhook() as (address, received):
        nightly.run(sys.executable, "-c", BLOCK, address)
        nightly.environment["ANIME_LORA_NOTIFY"] = "custom-webhook/nights"
        said = night(nightly, check=False, error="the lamp went out")
    del nightly.environment["ANIME_LORA_NOTIFY"]
    assert [one["event"] for one in received] == ["anime-lora failed"]
    assert "train: the lamp went out" in received[0]["text"]
    assert "failed: train: the lamp went out" in said
    assert "Running stage 'validate-sample'" not in said
    assert nightly.head() == head
    assert "Promoted" in night(nightly, new=0, quality=0.3)
    assert nightly.history()[-1]["version"] == "v3.0.0", "a version that was rolled back is not given again"


def test_a_setting_whose_night_failed_after_training_is_decided_by_the_next(nightly: Nightly) -> None:
    """No image is new and dvc.lock already has the setting: the LoRA still waits for a decision."""
    nightly.set("train.rank", 3)
    nightly.commit("Train a larger LoRA")
    assert "failed: evaluate: nobody looks" in night(nightly, new=0, check=False, quality=-0.1, blind=True)
    assert "Rejected" in night(nightly, new=0, quality=-0.1)
    assert nightly.history()[-1]["why"] == "train.rank 2 → 3"
    assert "Skipped: no new data" in night(nightly, new=0)


def test_a_promotion_whose_push_is_refused_is_shown_notified_and_sent_by_the_next_night(nightly: Nightly) -> None:
    """The failure's message says what was decided; no tag is on the remote before its commit is."""
    hook = nightly.root.parent / "origin.git" / "hooks" / "pre-receive"
    hook.write_text("#!/bin/sh\nexit 1\n")
    hook.chmod(0o755)
    before = theirs(nightly)
    with webhook() as (address, received):
        nightly.environment["ANIME_LORA_NOTIFY"] = address
        assert "failed: promoted v4.0.0, not sent: git push" in night(nightly, check=False, quality=0.35)
    del nightly.environment["ANIME_LORA_NOTIFY"]
    assert [one["event"] for one in received] == ["failed"]
    assert "promoted v4.0.0, not sent" in received[0]["text"]
    assert theirs(nightly) == before
    hook.unlink()
    assert "Skipped: no new data" in night(nightly, new=0)
    assert theirs(nightly) - before == {"anime-lora@v4.0.0", "anime-lora#champion#5"}


def test_a_remote_out_of_reach_ends_the_night_in_one_line_before_it_trains(nightly: Nightly) -> None:
    """The next night, with the remote back, takes the same image."""
    config = nightly.root / ".dvc" / "config"
    before = config.read_text()
    for option in (["url", "s3://versions/anime-lora"], ["endpointurl", CLOSED], ["access_key_id", "a"],
                   ["secret_access_key", "b"]):  # fmt: skip
        nightly.run(sys.executable, "-m", "dvc", "remote", "modify", "store", *option)
    nightly.commit("Keep the data in a bucket")
    head = nightly.head()
    said = night(nightly, check=False)
    assert "Traceback" not in said
    assert "Running stage" not in said
    (line,) = [line for line in said.splitlines() if line.startswith("failed: ")]
    assert "DVC's remote versions/anime-lora" in line
    assert "does not answer" in line
    assert CLOSED in line
    assert (nightly.head(), nightly.clean()) == (head, True)
    config.write_text(before)
    nightly.commit("Keep the data in a store")
    assert "Promoted" in night(nightly, new=0, quality=0.4)
    assert nightly.history()[-1]["why"] == "images: 1 added"


def test_a_second_run_is_refused_at_once(nightly: Nightly) -> None:
    with run_lock(nightly.root / ".cache" / "run.lock"):
        said = nightly.retrain(check=False)
    assert "failed: another run works in this folder" in said
    assert "Traceback" not in said


def test_other_peoples_uncommitted_work_stops_the_night(nightly: Nightly) -> None:
    nightly.set("train.rank", 4)
    said = night(nightly, check=False)
    assert "failed: uncommitted changes in params.yaml: commit or stash them" in said
    assert "Traceback" not in said
