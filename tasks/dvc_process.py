"""One DVC stage as a process group of its own: brought up to date, listened to, and ended whole.

Training in several processes leaves the group: its launcher and each rank lead sessions of their own.

`dvc repro --single-item` neither runs nor checks what comes before: the flow keeps the order.
"""

import json
import os
import queue
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal

import psutil

from anime_lora.config import paths
from anime_lora.files import write_json

How = Literal["unchanged", "restored", "executed"]
Need = Literal["ask", "none", "force"]
"""Whether a stage runs: DVC is asked, it is known not to, or it does whatever DVC thinks."""
SKIPPED = "Stage '{}' didn't change, skipping"
SAID: dict[str, How] = {
    SKIPPED: "unchanged",
    "Stage '{}' is cached - skipping run, checking out outputs": "restored",
    "Running stage '{}':": "executed",
}
"""DVC's own words for what it did with a stage."""
HINTS = (
    "To track the changes with git, run:",
    "git add dvc.lock",
    "To enable auto staging, run:",
    "dvc config core.autostage true",
    "Use `dvc push` to send your updates to remote storage.",
)
"""DVC's advice for people at a prompt, kept out of the run's log."""
GRACE = 6.0
"""Seconds between SIGTERM and SIGKILL: training saves its work in between, and a cancel is done within ten."""
AT_WORK = paths.CACHE / "at-work.json"
"""The command that a run of this folder has started: its process group outlives a run that is killed."""
LINGER = 5.0
"""Seconds to wait for the last lines of a process that has ended."""


CHECK, FIRST = "check", "ingest"
"""What DVC runs before all stages, and the stage that depends on it."""


class StageFailedError(Exception):
    """A stage did not end well; the message is its own reason."""


class RunCancelledError(Exception):
    """Somebody cancelled the run that a stage belongs to."""


@dataclass(frozen=True)
class Outcome:
    """What DVC did with a stage."""

    stage: str
    how: How
    seconds: float


def command(stage: str, forced: bool = False) -> list[str]:
    """`--wait-for-lock` stands first: DVC takes its lock again after the stage, and would give up after 3 s.

    The first stage comes with `check` before it; of the others DVC looks at nothing but themselves.
    """
    force = ["--force"] if forced else []
    alone = [] if stage == FIRST else ["--single-item"]
    return [sys.executable, "-m", "dvc", "--wait-for-lock", "repro", *alone, *force, stage]


def unchanged_stages() -> list[str]:
    """Stages that DVC would skip as they are now, in its order; asks once for all and changes nothing.

    True of a stage only as long as no stage before it is executed.
    """
    plan = [sys.executable, "-m", "dvc", "--wait-for-lock", "repro", "--dry"]
    said = subprocess.run(plan, capture_output=True, text=True, errors="replace", env=environment(), check=False)
    found = re.findall(r"^Stage '(.+)' didn't change, skipping$", said.stdout, flags=re.MULTILINE)
    return [stage for stage in found if stage != FIRST or CHECK in found]


def environment() -> dict[str, str]:
    """This process' environment, with this Python's folder first: `cmd: python -m …` finds the same one."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    return {**os.environ, "PATH": path, "PYTHONUNBUFFERED": "1", "DVC_NO_ANALYTICS": "true"}


def bring_up_to_date(
    stage: str,
    on_line: Callable[[str], None],
    ticked: Callable[[], None] = lambda: None,
    limit: float | None = None,
    forced: bool = False,
) -> Outcome:
    """Have DVC bring `stage` up to date, or run it although it is when `forced`; otherwise as `listened`."""
    start = time.monotonic()
    lines = listened(stage, command(stage, forced), on_line, ticked, limit)
    return Outcome(stage, how(stage, lines), round(time.monotonic() - start, 1))


def listened(
    name: str,
    arguments: list[str],
    on_line: Callable[[str], None],
    ticked: Callable[[], None] = lambda: None,
    limit: float | None = None,
) -> list[str]:
    """Run a command in a process group of its own until it ends; returns its output lines.

    Args:
        name: what an error calls it.
        arguments: the command.
        on_line: is handed every line of output, as it comes.
        ticked: is called about once a second meanwhile.
        limit: seconds after which the command is ended and counts as failed; None: no limit.

    Raises:
        StageFailedError: it failed or ran past `limit`. Whatever ends this call, and be it what `ticked` raises, no
            process of the group and no descendant of `arguments` outlives it.
    """
    start = time.monotonic()
    lines: list[str] = []
    process = subprocess.Popen(
        arguments,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=environment(),
        start_new_session=True,
    )
    try:
        write_json(AT_WORK, {"leader": process.pid, "since": psutil.Process(process.pid).create_time()})
        for line in _lines(process, ticked, None if limit is None else start + limit):
            lines.append(line)
            if line.strip() not in HINTS:
                on_line(line)
    except TimeoutError:
        raise StageFailedError(f"{name} ran longer than its limit of {limit:g} s and was ended") from None
    finally:
        end_group(process.pid, process.poll)
        AT_WORK.unlink(missing_ok=True)
    if process.returncode != 0:
        raise StageFailedError(reason(lines) or f"{name} failed: exit code {process.returncode}")
    return lines


def how(stage: str, lines: list[str]) -> How:
    """What DVC says it did; the last word counts.

    Raises:
        StageFailedError: it says none of the three things.
    """
    words = {said.format(stage): what for said, what in SAID.items()}
    heard = [words[line] for line in lines if line in words]
    if not heard:
        raise StageFailedError(f"dvc did not say what it did with {stage}: {' / '.join(lines[-3:]) or 'no output'}")
    return heard[-1]


def reason(lines: list[str]) -> str | None:
    """The stage's own `error: …` with the lines that belong to it, else DVC's last `ERROR: …`; None without either."""
    own = [i for i, line in enumerate(lines) if line.startswith("error: ")]
    if own:
        first, *rest = lines[own[-1] :]
        more = rest[: next((i for i, line in enumerate(rest) if not line.startswith("  ")), len(rest))]
        return "\n".join([first.removeprefix("error: "), *more])
    crashed = [line for line in lines if re.match(r"[A-Za-z_.]*(Error|Exception|Interrupt)\b", line)]
    foreign = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    found = [*crashed[-1:], *foreign[-1:]]
    return " · ".join(found) if found else None


def end_leftover(at_work: Path = AT_WORK) -> None:
    """End the command that a killed run left at work: DVC refuses what it reads to the next run, and a GPU is full.

    Training saves its work, as on a cancel. To be called by who holds the run lock: nobody else works in the folder.
    """
    if not at_work.is_file():
        return
    left = json.loads(at_work.read_text(encoding="utf-8"))
    with suppress(psutil.NoSuchProcess):
        if psutil.Process(left["leader"]).create_time() != left["since"]:
            at_work.unlink()  # another program has its number now
            return
    end_group(left["leader"])
    at_work.unlink()


def end_group(leader: int, reap: Callable[[], object] = lambda: None, grace: float = GRACE) -> None:
    """SIGTERM to the group, SIGKILL after `grace` seconds to it and all descendants; returns when none is left.

    A descendant that left the group hears SIGTERM from its parent: a rank leaves without saving on the second one.
    A run may be told twice, by its runner and by `tasks.cancel`: interrupted itself, this goes on with its work first.

    Args:
        leader: whose group it is.
        reap: takes notice of the end of a leader that is this process' child.
        grace: seconds.
    """
    deadline = time.monotonic() + grace
    family = _descendants(leader)

    def gone(until: float) -> None:
        while (_alive(leader, reap) or any(map(_lives, family))) and time.monotonic() < until:
            time.sleep(0.05)

    try:
        _signal(leader, signal.SIGTERM)
        gone(deadline)
    except BaseException:
        gone(deadline)
        raise
    finally:
        _signal(leader, signal.SIGKILL)
        _kill(family)
        gone(time.monotonic() + grace)


def _descendants(leader: int) -> list[psutil.Process]:
    """Found before the first signal: a process whose parent has ended is nobody's descendant."""
    try:
        found: list[psutil.Process] = psutil.Process(leader).children(recursive=True)
    except psutil.NoSuchProcess:
        return []
    return found


def _signal(leader: int, sign: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.killpg(leader, sign)


def _kill(family: list[psutil.Process]) -> None:
    for member in family:
        with suppress(psutil.NoSuchProcess):
            member.kill()


def _alive(leader: int, reap: Callable[[], object]) -> bool:
    """Whether any process of the group is left."""
    reap()
    try:
        os.killpg(leader, 0)
    except ProcessLookupError:
        return False
    return True


def _lives(member: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess):
        return bool(member.is_running() and member.status() != psutil.STATUS_ZOMBIE)
    return False


def _lines(process: "subprocess.Popen[bytes]", ticked: Callable[[], None], deadline: float | None) -> Iterator[str]:
    """Output lines until the process ends; `ticked` once a second.

    Raises:
        TimeoutError: at `deadline`, in seconds of `time.monotonic`.
    """
    assert process.stdout is not None
    heard: queue.Queue[str | None] = queue.Queue()
    threading.Thread(target=_listen, args=(process.stdout, heard), daemon=True).start()
    next_tick, ended = time.monotonic() + 1.0, None
    while True:
        try:
            line = heard.get(timeout=0.2)
        except queue.Empty:
            line = ""
        if line is None:
            break
        if line:
            yield line
        now = time.monotonic()
        if now >= next_tick:
            next_tick = now + 1.0
            ticked()
        if deadline is not None and now >= deadline:
            raise TimeoutError
        if process.poll() is not None:
            ended = ended or now
            if now - ended > LINGER:
                break
    process.wait()


def _listen(stream: IO[bytes], heard: "queue.Queue[str | None]") -> None:
    for raw in stream:
        line = raw.decode(errors="replace").rstrip().rsplit("\r", 1)[-1]
        if line:
            heard.put(line)
    heard.put(None)
