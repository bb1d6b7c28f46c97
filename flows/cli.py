"""The `python -m flows` commands: run the chain, retrain, roll back, serve the deployment, serve Prefect's pages.

Each command sets Prefect's environment before it imports Prefect, which reads its settings once.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from anime_lora.cli.page import examples
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

UI = "make ui"


app = typer.Typer(
    help="""Run the seven stages as one run that Prefect shows, every night if you like, and publish the better LoRA.

Run the commands from the project's root. Without a server, each run starts one of its own in `.prefect/`;
`python -m flows ui` starts one that stays. An error is one message; the whole log is on the run's page.""",
    epilog=examples(
        ("python -m flows ui", "serves Prefect's pages, in a terminal of its own"),
        ("python -m flows run", "brings all stages up to date"),
        ("python -m flows retrain", "the same when something is new, then publishes the better LoRA"),
        ('python -m flows serve --cron "0 3 * * *"', "retrains every night at three"),
    ),
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    add_completion=False,  # a shell completes programs, not modules of `python -m`
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.command(
    epilog=examples(
        ("python -m flows run", "brings all stages up to date"),
        ("python -m flows run --retries 2 --limit-minutes 90", "tries a failed stage again, and ends one that hangs"),
    ),
)
def run(
    asked: Annotated[str, typer.Option(help="What started the run; it begins the run's name.")] = "by hand",
    retries: Annotated[int, typer.Option(min=0, help="Further attempts of a failed stage.")] = 0,
    limit_minutes: Annotated[float | None, typer.Option(min=0, help="End a stage that runs longer.")] = None,
) -> None:
    """Bring all seven stages up to date, watched by Prefect.

    The folder, Git, DVC, params.yaml and the sources are checked first. A stage that nothing changed for is not run;
    the chain stops at the first stage that fails, and the next run goes on from there.
    """
    with errors_as_messages():
        start_run()
        from flows.pipeline import pipeline

        hide_tracebacks(ROOTS)
        raise_unless_completed(pipeline(asked=asked, retries=retries, limit_minutes=limit_minutes, return_state=True))
    print(result_locations())


@app.command(
    epilog=examples(
        ("python -m flows retrain", "trains when there are new images or settings"),
        ("python -m flows retrain -S train.rank=8", "tries a value, and keeps it only when the LoRA is better"),
        ("python -m flows retrain --force train", "trains in any case"),
    ),
)
def retrain(
    reason: Annotated[str, typer.Option(help="What started the run; it begins the run's name.")] = "by hand",
    force: Annotated[Stage | None, typer.Option(help="Run this stage even when nothing it reads has changed.")] = None,
    override: Annotated[
        list[str] | None, typer.Option("--override", "-S", help="A value for this run: train.rank=8.")
    ] = None,
    limit_minutes: Annotated[float | None, typer.Option(min=0, help="End a stage that runs longer.")] = None,
) -> None:
    """Train on what is new, compare with the champion, publish the better LoRA and record it in Git.

    Ends as Skipped when nothing is new, else as Promoted or Rejected. The decision is one commit with
    models/history.jsonl; data, commit and tags are pushed where the folder has remotes.
    """
    with errors_as_messages():
        start_run()
        from flows.retrain import retrain as flow

        hide_tracebacks(ROOTS)
        state = flow(reason, force, override, limit_minutes, return_state=True)
        raise_unless_completed(state)
    print(f"\n{state.name}: {state.message}")


@app.command(
    epilog=examples(("python -m flows rollback --reason 'too dark'", "the previous champion comes back")),
)
def rollback(
    reason: Annotated[str, typer.Option(help="Why; it stands in models/history.jsonl.")] = "by hand",
) -> None:
    """Put the champion before the present one back, byte for byte.

    Recorded, tagged and pushed like a promotion. What was rolled back keeps its version, which is not given again.
    """
    with errors_as_messages():
        from flows.rollback import rollback as run

        prefect_env.set_prefect_environment()
        entry = run(reason)
    print(f"{entry.why}; sha256 {entry.adapter}")


@app.command(
    epilog=examples(
        ('python -m flows serve --cron "0 3 * * *" --timezone Europe/Berlin', "every night at three"),
        ("python -m flows serve", "only on request, from the page that it prints"),
    ),
)
def serve(
    cron: Annotated[
        str | None,
        typer.Option(help='When, such as "0 3 * * *"; without it on request only: an earlier schedule goes.'),
    ] = None,
    timezone: Annotated[str | None, typer.Option(help="Of --cron, such as Europe/Berlin; else this machine's.")] = None,
) -> None:
    """Run the nightly deployment from this folder: by its schedule, and when asked in the UI; Ctrl-C ends it.

    Needs a server that stays, such as that of `python -m flows ui`. The schedule outlives this process. One that was
    paused in the UI stays paused until it is resumed there.
    """
    with errors_as_messages():
        preflight()
        server = prefect_env.require_server()
        from flows import serve as serving

        serving.check_schedule(cron, timezone)
        what = f"{serving.NAME}: {cron or 'on request'}"
        print(f"{what}; runs, and the button to start one: {server.removesuffix('/api')}", flush=True)
        serving.serve(cron, timezone)


@app.command(
    "install-automations",
    epilog=examples(("python -m flows install-automations", "on the server that runs here, or PREFECT_API_URL names")),
)
def install_automations() -> None:
    """Have the server mark runs Crashed that give no sign of life; again after a change of the frequency.

    `python -m flows serve` does it too; a worker of a pool needs this once. Where ANIME_LORA_NOTIFY names a block of
    Prefect, the server also notifies through it.
    """
    with errors_as_messages():
        prefect_env.require_server()
        from flows.runtime import automations

        print(automations.install_automations())


@app.command(
    epilog=examples(
        ("python -m flows ui", "the pages on port 4200"),
        ("python -m flows ui --port 4300", "where 4200 is taken"),
    ),
)
def ui(port: Annotated[int, typer.Option(help="Port on the loopback address.")] = prefect_env.PORT) -> None:
    """Serve Prefect's pages with this project's runs, on the loopback address only; Ctrl-C ends it.

    Runs that start while it is up use its server, and stay on its pages when they have ended.
    """
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
