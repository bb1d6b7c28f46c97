"""A command's process group: whatever ends the call, no process of the group is left."""

import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import FrameType

import psutil
import pytest

from anime_lora.files import write_json
from tasks.errors import RunCancelledError, StageFailedError
from tasks.process_group import end_group, end_leftover_command, failure_reason, stream_command

PARENT = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print(child.pid, flush=True)
time.sleep(600)
"""
LAUNCHER = """
import subprocess, sys, time
rank = "import signal, time; signal.signal(15, signal.SIG_IGN); print('up', flush=True); time.sleep(600)"
middle = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {rank!r}], start_new_session=True)"
subprocess.Popen([sys.executable, "-c", middle], start_new_session=True)
time.sleep(600)
"""
"""As training in two processes: launcher and rank lead sessions of their own; this rank is busy and does not listen."""
SAVING = """
import signal, sys, time
def save(*_):
    time.sleep(float(sys.argv[1]))
    print("saved", flush=True)
    sys.exit()
signal.signal(signal.SIGTERM, save)
print("up", flush=True)
time.sleep(600)
"""


def test_a_cancel_ends_the_command_and_its_children() -> None:
    lines: list[str] = []

    def on_tick() -> None:
        if lines:
            raise RunCancelledError("the run was cancelled")

    with pytest.raises(RunCancelledError):
        stream_command("the command", [sys.executable, "-c", PARENT], lines.append, on_tick)
    assert not psutil.pid_exists(int(lines[0]))


def test_nobody_lives_who_left_the_group() -> None:
    """The launcher's parent is gone after SIGTERM; launcher and rank are ended all the same, after the grace."""
    process = subprocess.Popen([sys.executable, "-c", LAUNCHER], stdout=subprocess.PIPE, start_new_session=True)
    assert process.stdout is not None
    assert process.stdout.readline() == b"up\n"
    family = psutil.Process(process.pid).children(recursive=True)
    assert len(family) == 2
    start = time.monotonic()
    end_group(process.pid, process.poll, 1)
    assert 1 <= time.monotonic() - start < 2
    assert not [each for each in family if each.is_running() and each.status() != psutil.STATUS_ZOMBIE]
    process.stdout.close()


@pytest.mark.parametrize(("seconds", "grace", "said"), [(1.5, 120, b"saved\n"), (600, 3, b"")])
def test_a_second_cancel_neither_shortens_nor_prevents_the_end(seconds: float, grace: float, said: bytes) -> None:
    """The process has its time to save its work; one that takes longer is killed."""

    def interrupted(_: int, __: FrameType | None) -> None:
        raise KeyboardInterrupt

    process = subprocess.Popen(
        [sys.executable, "-c", SAVING, str(seconds)], stdout=subprocess.PIPE, start_new_session=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"up\n"
    before = signal.signal(signal.SIGALRM, interrupted)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.5)
        with pytest.raises(KeyboardInterrupt):
            end_group(process.pid, process.poll, grace)
    finally:
        signal.signal(signal.SIGALRM, before)
    assert process.poll() is not None
    assert process.stdout.read() == said
    process.stdout.close()


@pytest.mark.parametrize("killed", [False, True], ids=["whole", "leader killed"])
def test_what_a_killed_run_left_at_work_is_ended(tmp_path: Path, killed: bool) -> None:
    process = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, start_new_session=True)
    assert process.stdout is not None
    child = int(process.stdout.readline())
    process.stdout.close()
    write_json(tmp_path / "at-work.json", {"leader": process.pid, "since": psutil.Process(process.pid).create_time()})
    if killed:
        process.kill()
        process.wait()
    threading.Thread(target=process.wait, daemon=True).start()  # init's part, where the run is dead
    end_leftover_command(tmp_path / "at-work.json")
    assert not psutil.pid_exists(child)
    assert not list(tmp_path.iterdir())


def test_a_stranger_with_the_number_of_what_was_left_lives(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, start_new_session=True)
    write_json(tmp_path / "at-work.json", {"leader": process.pid, "since": 1.0})
    end_leftover_command(tmp_path / "at-work.json")
    assert process.poll() is None
    process.communicate(b"\n")
    assert not list(tmp_path.iterdir())


def test_a_command_past_its_limit_is_ended_and_says_so() -> None:
    lines: list[str] = []
    with pytest.raises(StageFailedError, match="the command ran longer than its limit of 1 s and was ended"):
        stream_command("the command", [sys.executable, "-c", PARENT], lines.append, timeout=1)
    assert not psutil.pid_exists(int(lines[0]))


@pytest.mark.parametrize(("lines", "reason"), [
    (["error: two settings", "  train.rank", "  train.alpha", "ERROR: failed to reproduce"],
     "two settings\n  train.rank\n  train.alpha"),
    (["Traceback", "ValueError: no", "ERROR: failed to reproduce 'train'"],
     "ValueError: no · failed to reproduce 'train'"),
    (["nothing that is known"], None),
])  # fmt: skip
def test_a_failed_command_says_why_in_its_own_words(lines: list[str], reason: str | None) -> None:
    assert failure_reason(lines) == reason
