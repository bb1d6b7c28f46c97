"""`python -m flows run` runs the chain, `retrain` the chain and what follows from it; `ui` serves Prefect's pages."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from anime_lora.config import paths
from anime_lora.files import write_json
from flows.champion.preflight import preflight
from flows.champion.triggers import Stage
from flows.errors import ROOTS, RunCancelledError
from flows.runtime import prefect_env
from flows.runtime.lock import check_unlocked
from flows.runtime.prefect_internals import hide_tracebacks

if TYPE_CHECKING:
    from prefect.client.schemas.objects import State

app = typer.Typer(help=__doc__, no_args_is_help=True, pretty_exceptions_enable=False, add_completion=False)
UI = "make ui"


@app.command()
def run(
    asked: Annotated[str, typer.Option(help="what started the run; it begins the run's name")] = "by hand",
    retries: Annotated[int, typer.Option(min=0, help="further attempts of a failed stage")] = 0,
    limit_minutes: Annotated[float | None, typer.Option(min=0, help="end a stage that runs longer")] = None,
) -> None:
    """Bring all seven stages up to date, watched by Prefect."""
    with errors_as_messages():
        start_run()
        from flows.pipeline import pipeline

        hide_tracebacks(ROOTS)
        raise_unless_completed(pipeline(asked=asked, retries=retries, limit_minutes=limit_minutes, return_state=True))
    print(result_locations())


@app.command()
def retrain(
    reason: Annotated[str, typer.Option(help="what started the run; it begins the run's name")] = "by hand",
    force: Annotated[Stage | None, typer.Option(help="run this stage even when nothing it reads has changed")] = None,
    override: Annotated[
        list[str] | None, typer.Option("--override", "-S", help="a value, this once: train.rank=8")
    ] = None,
    limit_minutes: Annotated[float | None, typer.Option(min=0, help="end a stage that runs longer")] = None,
) -> None:
    """Train on what is new, compare with the champion, publish the better LoRA and record it in Git."""
    with errors_as_messages():
        start_run()
        from flows.retrain import retrain as flow

        hide_tracebacks(ROOTS)
        state = flow(reason, force, override, limit_minutes, return_state=True)
        raise_unless_completed(state)
    print(f"\n{state.name}: {state.message}")


@app.command()
def rollback(reason: Annotated[str, typer.Option(help="why; it is kept in models/history.jsonl")] = "by hand") -> None:
    """Put the champion before the present one back, byte for byte; recorded and sent like a promotion."""
    with errors_as_messages():
        from flows.rollback import rollback as run

        prefect_env.set_prefect_environment()
        entry = run(reason)
    print(f"{entry.why}; sha256 {entry.adapter}")


@app.command()
def serve(
    cron: Annotated[
        str | None,
        typer.Option(help='when, such as "0 3 * * *"; without it only on request: the schedule there was goes'),
    ] = None,
    timezone: Annotated[str | None, typer.Option(help="of --cron, such as Europe/Berlin; else this machine's")] = None,
) -> None:
    """Run the nightly deployment from this folder: by its schedule, and when asked in the UI; Ctrl-C ends it.

    The schedule outlives this process. One that was paused in the UI stays paused until it is resumed there.
    """
    with errors_as_messages():
        preflight()
        server = prefect_env.require_server()
        from flows import serve as serving

        serving.check_schedule(cron, timezone)
        what = f"{serving.NAME}: {cron or 'on request'}"
        print(f"{what}; runs, and the button to start one: {server.removesuffix('/api')}", flush=True)
        serving.serve(cron, timezone)


@app.command("install-automations")
def install_automations() -> None:
    """Have the server mark runs Crashed that give no sign of life; again after a change of the frequency."""
    with errors_as_messages():
        prefect_env.require_server()
        from flows.runtime import automations

        print(automations.install_automations())


@contextmanager
def errors_as_messages() -> Iterator[None]:
    """An error of one of the two roots becomes one message and exit code 1."""
    try:
        yield
    except ROOTS as error:
        print(f"failed: {error}", file=sys.stderr)
        raise typer.Exit(1) from None


def raise_unless_completed(state: "State[Any]") -> None:
    """Raise what ended the run, unless it completed."""
    if state.is_cancelled():
        raise RunCancelledError(state.message)
    state.result()


def start_run() -> None:
    """Check what a run needs before a server is started, then say which server there is.

    Raises:
        RunLockedError, PreflightError, ParamsError: nothing was started.
    """
    check_unlocked()
    preflight()
    if os.environ.get("PREFECT_API_URL"):
        prefect_env.require_server()
    print(f"Prefect: {prefect_env.set_prefect_environment()}", flush=True)


@app.command()
def ui(port: Annotated[int, typer.Option(help="port on the loopback address")] = prefect_env.PORT) -> None:
    """Serve Prefect's pages with this project's runs, on the loopback address only; Ctrl-C ends it."""
    with errors_as_messages():
        prefect_env.check_no_server()
    prefect_env.set_server_environment()
    api = f"http://{prefect_env.HOST}:{port}/api"
    os.environ["PREFECT_API_URL"] = api
    print(f"Prefect UI: http://{prefect_env.HOST}:{port}/runs  (Ctrl-C ends it)")
    print(
        f"From another machine: ssh -L {port}:{prefect_env.HOST}:{port} <this machine>, then the same address",
        flush=True,
    )
    write_json(prefect_env.SERVER_RECORD, {"api": api})
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", prefect_env.HOST, "--port", str(port)]
    server = subprocess.Popen(command)
    signal.signal(signal.SIGTERM, lambda *_: server.terminate())
    try:
        raise typer.Exit(server.wait())
    except KeyboardInterrupt:  # the terminal sent it to the server too
        server.wait()
        raise typer.Exit(0) from None
    finally:
        prefect_env.SERVER_RECORD.unlink(missing_ok=True)


def result_locations(root: Path = Path()) -> str:
    """Where the report, the LoRA files and the UI are."""
    loras = sorted((root / paths.TRAIN).glob("*.safetensors"))
    readers = {"pytorch_lora_weights.safetensors": "diffusers"}
    lines = [
        f"report   {(root / paths.EVALUATE / 'report.html').resolve()}",
        *(f"LoRA     {path} ({readers.get(path.name, 'A1111, Forge, ComfyUI')})" for path in loras),
        f"runs     {UI}   then http://{prefect_env.HOST}:{prefect_env.PORT}",
    ]
    return "\n".join(["", *lines])
