"""A command in a process group of its own: its output as it comes, and no process of it left when it ends.

Training in several processes leaves the group: its launcher and each rank lead sessions of their own, so descendants
are ended too.
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
from pathlib import Path
from typing import IO

import psutil

from anime_lora.config import paths
from anime_lora.files import write_json
from tasks.dvc_internals import ERROR
from tasks.errors import StageFailedError

GRACE = 6.0
"""Seconds between SIGTERM and SIGKILL: training saves its work in between, and a cancel is done within ten."""
RUNNING_COMMAND = paths.CACHE / "at-work.json"
"""The command that a run of this folder has started: its process group outlives a run that is killed."""
LAST_LINES = 5.0
"""Seconds to wait for the last lines of a process that has ended."""


def command_environment() -> dict[str, str]:
    """This process' environment, with this Python's folder first: `cmd: python -m …` finds the same one."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    return {**os.environ, "PATH": path, "PYTHONUNBUFFERED": "1", "DVC_NO_ANALYTICS": "true"}


def stream_command(
    name: str,
    arguments: list[str],
    on_line: Callable[[str], None],
    on_tick: Callable[[], None] = lambda: None,
    timeout: float | None = None,
) -> list[str]:
    """Run a command in a process group of its own until it ends; returns its output lines.

    Args:
        name: what an error calls it.
        arguments: the command.
        on_line: called with every line of output, as it comes.
        on_tick: called about once a second; what it raises ends the command.
        timeout: seconds after which the command is ended and counts as failed; None: no limit.

    Raises:
        StageFailedError: the exit code is not 0, or `timeout` is over. Whatever ends this call, also what `on_tick`
            raises, no process of the group and no descendant of the command outlives it.
    """
    start = time.monotonic()
    lines: list[str] = []
    process = subprocess.Popen(
        arguments,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=command_environment(),
        start_new_session=True,  # its group gets the signals; SIGTERM to `dvc` alone leaves the training running
    )
    try:
        write_json(RUNNING_COMMAND, {"leader": process.pid, "since": psutil.Process(process.pid).create_time()})
        for line in _output_lines(process, on_tick, None if timeout is None else start + timeout):
            lines.append(line)
            on_line(line)
    except TimeoutError:
        raise StageFailedError(f"{name} ran longer than its limit of {timeout:g} s and was ended") from None
    finally:
        end_group(process.pid, process.poll)
        RUNNING_COMMAND.unlink(missing_ok=True)
    if process.returncode != 0:
        raise StageFailedError(failure_reason(lines) or f"{name} failed: exit code {process.returncode}")
    return lines


def failure_reason(lines: list[str]) -> str | None:
    """The command's own `error: …` with its indented lines, else DVC's last `ERROR: …`; None without either."""
    own = [number for number, line in enumerate(lines) if line.startswith("error: ")]
    if own:
        first, *rest = lines[own[-1] :]
        indented = next((number for number, line in enumerate(rest) if not line.startswith("  ")), len(rest))
        return "\n".join([first.removeprefix("error: "), *rest[:indented]])
    exceptions = [line for line in lines if re.match(r"[A-Za-z_.]*(Error|Exception|Interrupt)\b", line)]
    from_dvc = [line.removeprefix(ERROR) for line in lines if line.startswith(ERROR)]
    return " · ".join([*exceptions[-1:], *from_dvc[-1:]]) or None


def end_leftover_command(record: Path = RUNNING_COMMAND) -> None:
    """End the command that a killed run left behind: it holds DVC's paths and perhaps the GPU.

    Training saves its work, as on a cancel. To be called by the holder of the run lock: no other run is at work here.
    """
    if not record.is_file():
        return
    command = json.loads(record.read_text(encoding="utf-8"))
    with suppress(psutil.NoSuchProcess):
        if psutil.Process(command["leader"]).create_time() != command["since"]:
            record.unlink()  # another program has the number now
            return
    end_group(command["leader"])
    record.unlink()


def end_group(leader: int, reap: Callable[[], object] = lambda: None, grace: float = GRACE) -> None:
    """SIGTERM to the group, SIGKILL after `grace` seconds to it and all descendants; returns when none is left.

    A descendant that left the group gets SIGTERM from its parent: a rank leaves without saving on the second one.
    A run may be cancelled twice, by its runner and by `tasks.cancel`: interrupted itself, this ends the group first.

    Args:
        leader: process number of the group's leader.
        reap: collects the exit code of a leader that is this process' child.
        grace: seconds.
    """
    deadline = time.monotonic() + grace
    family = _descendants(leader)

    def wait(until: float) -> None:
        while (_group_exists(leader, reap) or any(map(_is_running, family))) and time.monotonic() < until:
            time.sleep(0.05)

    try:
        _signal_group(leader, signal.SIGTERM)
        wait(deadline)
    except BaseException:
        wait(deadline)
        raise
    finally:
        _signal_group(leader, signal.SIGKILL)
        for member in family:
            with suppress(psutil.NoSuchProcess):
                member.kill()
        wait(time.monotonic() + grace)


def _descendants(leader: int) -> list[psutil.Process]:
    """Listed before the first signal: a process whose parent has ended is nobody's descendant."""
    try:
        descendants: list[psutil.Process] = psutil.Process(leader).children(recursive=True)
    except psutil.NoSuchProcess:
        return []
    return descendants


def _signal_group(leader: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.killpg(leader, number)


def _group_exists(leader: int, reap: Callable[[], object]) -> bool:
    """Whether any process of the group is left; its leader may have ended before the others."""
    reap()
    try:
        os.killpg(leader, 0)
    except ProcessLookupError:
        return False
    return True


def _is_running(process: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess):
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    return False


def _output_lines(
    process: "subprocess.Popen[bytes]", on_tick: Callable[[], None], deadline: float | None
) -> Iterator[str]:
    """Output lines until the process ends; `on_tick` once a second.

    Raises:
        TimeoutError: at `deadline`, in seconds of `time.monotonic`.
    """
    assert process.stdout is not None
    lines: queue.Queue[str | None] = queue.Queue()
    threading.Thread(target=_read_lines, args=(process.stdout, lines), daemon=True).start()
    next_tick, ended = time.monotonic() + 1.0, None
    while True:
        try:
            line = lines.get(timeout=0.2)
        except queue.Empty:
            line = ""
        if line is None:
            break
        if line:
            yield line
        now = time.monotonic()
        if now >= next_tick:
            next_tick = now + 1.0
            on_tick()
        if deadline is not None and now >= deadline:
            raise TimeoutError
        if process.poll() is not None:
            ended = ended or now
            if now - ended > LAST_LINES:  # a process outside the group may hold the pipe open for ever
                break
    process.wait()


def _read_lines(stream: IO[bytes], lines: "queue.Queue[str | None]") -> None:
    with stream:
        for raw in stream:
            line = raw.decode(errors="replace").rstrip().rsplit("\r", 1)[-1]  # of a progress bar, its last state
            if line:
                lines.put(line)
    lines.put(None)
