"""compose.yaml, the Dockerfile and prefect.yaml, as far as can be checked without a container engine."""

import asyncio
import os
import re
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from prefect.deployments.steps import run_shell_script
from prefect.deployments.steps.pull import agit_clone
from prefect.settings import Settings
from prefect.settings.legacy import _get_valid_setting_names
from ruamel.yaml import YAML

from flows.runtime.notify import SETTING
from flows.runtime.prefect_env import HEARTBEAT, RETENTION
from tests.house.doors import ROOT

KEYS = {
    "build", "command", "depends_on", "env_file", "environment", "healthcheck", "image", "ports", "restart",
    "stop_grace_period", "user", "volumes", "working_dir",
}  # fmt: skip
"""Of the Compose specification; a mistyped key would be refused by the engine."""
GIT = {f"GIT_{who}_{what}" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
OTHERS = {"ANIME_LORA_FOLDER", SETTING, "DO_NOT_TRACK", "HOME", *GIT}


def document(name: str) -> dict[str, Any]:
    return dict(YAML(typ="safe", pure=True).load((ROOT / name).read_text(encoding="utf-8")))


COMPOSE = document("compose.yaml")
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
DEPLOYMENTS: dict[str, dict[str, Any]] = {one["name"]: one for one in document("prefect.yaml")["deployments"]}


def command_lines(command: list[str]) -> list[list[str]]:
    """The `python -m …` commands of a service, also those inside its shell script."""
    if command[0] != "sh":
        return [command]
    script = command[2].replace("||\n", "\n")
    return [line.split(" > ")[0].split() for line in script.splitlines() if line.strip()]


PYTHON = [line for service in SERVICES.values() for line in command_lines(service.get("command", []) or ["sh", "", ""])]


def test_services_use_the_keys_of_compose_and_volumes_that_are_declared() -> None:
    for name, service in SERVICES.items():
        assert set(service) <= KEYS, name
        named = [volume.split(":")[0] for volume in service.get("volumes", [])]
        assert all(volume == "." or volume in COMPOSE["volumes"] for volume in named)


def test_a_service_waits_for_one_that_says_when_it_is_ready() -> None:
    for service in SERVICES.values():
        for name, how in service.get("depends_on", {}).items():
            ready = {"service_healthy": "healthcheck" in SERVICES[name],
                     "service_completed_successfully": SERVICES[name].get("restart") == "no"}  # fmt: skip
            assert ready[how["condition"]], name


def test_every_setting_is_one_that_prefect_reads() -> None:
    known = _get_valid_setting_names(Settings) | OTHERS
    for name in ("server", "setup", "worker"):
        assert set(SERVICES[name]["environment"]) <= known
    assert set(RETENTION) <= known


def test_the_server_forgets_as_the_one_of_make_ui_does() -> None:
    environment = SERVICES["server"]["environment"]
    assert {name: environment.get(name) for name in RETENTION} == RETENTION


def test_no_password_is_written_down_and_only_this_machine_sees_the_server() -> None:
    passwords = [v for s in SERVICES.values() for k, v in s["environment"].items() if "PASSWORD" in k]
    assert passwords
    assert all(value.startswith("${POSTGRES_PASSWORD:?") for value in passwords)
    assert [port for s in SERVICES.values() for port in s.get("ports", [])] == ["127.0.0.1:4200:4200"]


def test_the_commands_at_its_head_write_every_setting_that_compose_asks_for(tmp_path: Path) -> None:
    text = (ROOT / "compose.yaml").read_text(encoding="utf-8")
    commands = [line.removeprefix("#   ") for line in text.splitlines() if line.startswith("#   echo ")]
    own = {"GIT_CONFIG_COUNT": "2", "GIT_CONFIG_KEY_0": "user.name", "GIT_CONFIG_VALUE_0": "Ann Lee",
           "GIT_CONFIG_KEY_1": "user.email", "GIT_CONFIG_VALUE_1": "ann@example.org"}  # fmt: skip
    subprocess.run(["bash", "-euc", "\n".join(commands)], cwd=tmp_path, env={**os.environ, **own}, check=True)
    written = dict(line.split("=", 1) for line in (tmp_path / ".env").read_text().splitlines())
    assert {**written, "POSTGRES_PASSWORD": ""} == {
        "POSTGRES_PASSWORD": "", "RUN_AS": f"{os.getuid()}:{os.getgid()}",
        "COMMITTER": "Ann Lee", "COMMITTER_EMAIL": "ann@example.org",
    }  # fmt: skip
    assert set(re.findall(r"\$\{(\w+):\?", text)) | {"RUN_AS"} == set(written)


def test_the_worker_knows_who_commits_whom_to_tell_and_the_secrets_of_a_remote() -> None:
    worker = SERVICES["worker"]
    assert GIT | {SETTING} <= set(worker["environment"])
    assert worker["env_file"] == [{"path": ".env", "required": False}]
    assert "[dask,flows,s3]" in (ROOT / "Dockerfile").read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.parametrize("line", PYTHON, ids=lambda line: " ".join(line)[:60])
def test_every_command_exists_with_its_options(line: list[str]) -> None:
    """`--help` behind the subcommand says which options there are."""
    assert line[:2] == ["python", "-m"]
    words = [word for word in line[3:] if not word.startswith("--no-")]
    subcommand = [word for word in words[:2] if not word.startswith("-") and not word.startswith("anime-lora")]
    ran = subprocess.run(
        [sys.executable, "-m", line[2], *subcommand, "--help"], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert ran.returncode == 0, ran.stderr
    assert all(option in ran.stdout for option in words if option.startswith("--"))


def test_git_in_the_image_knows_who_commits_and_works_in_a_folder_of_another_owner(tmp_path: Path) -> None:
    image = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    bare = {
        "GIT_CONFIG_SYSTEM": str(tmp_path / "gitconfig"),
        "GIT_CONFIG_GLOBAL": os.devnull,
        "PATH": os.environ["PATH"],
    }

    def git(line: str) -> str:
        return subprocess.run(line.split(), cwd=tmp_path, env=bare, check=True, capture_output=True, text=True).stdout

    for line in re.findall(r"^RUN (git config .+)$", image, re.M):
        git(line)
    assert git("git var GIT_COMMITTER_IDENT").startswith("anime-lora <anime-lora@localhost>")
    assert git("git config --get-all safe.directory").split() == ["/project"]


def test_a_container_runs_as_the_owner_of_the_folder_and_tells_whom_it_is_told_to() -> None:
    image = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    assert image.index("ARG RUN_AS=") < image.index("USER ${RUN_AS}") > image.rindex("RUN ")
    settings = dict(re.findall(r"(\w+)=(\S+)", "".join(re.findall(r"^ENV (.+)$", image, re.M))))
    assert all(settings[name].startswith("/tmp") for name in ("HOME", "PREFECT_SERVER_UI_STATIC_DIRECTORY"))
    assert SERVICES["worker"]["build"]["args"] == {"RUN_AS": "${RUN_AS:-1000:1000}"}
    for kind in ("docker", "kubernetes"):
        assert SETTING in DEPLOYMENTS[f"nightly-{kind}"]["work_pool"]["job_variables"]["env"]


def test_the_image_holds_what_its_installation_reads() -> None:
    """Every file the Dockerfile copies exists and is let through by .dockerignore."""
    let = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = re.findall(r"^COPY (.+) \S+$", (ROOT / "Dockerfile").read_text(), re.M)
    names = {name for line in copied for name in line.split()}
    assert names == let
    assert all((ROOT / name).exists() for name in names)


def test_the_deployments_name_the_pools_that_compose_makes() -> None:
    worker = SERVICES["worker"]["command"]
    assert DEPLOYMENTS["nightly-process"]["work_pool"]["name"] == worker[worker.index("--pool") + 1]
    assert all(one["entrypoint"] == "flows/retrain.py:retrain" for one in DEPLOYMENTS.values())


@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_a_run_of_a_pool_beats_as_often_as_the_automation_expects(name: str) -> None:
    assert HEARTBEAT.items() <= DEPLOYMENTS[name]["work_pool"]["job_variables"]["env"].items()
    assert HEARTBEAT.items() <= SERVICES["setup"]["environment"].items(), "it installs the automation"


@pytest.mark.parametrize("commits", [1, 3])
def test_a_pod_s_clone_knows_every_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, commits: int) -> None:
    """The steps of the Kubernetes deployment before the data, on a repository of ours."""
    (tmp_path / "origin").mkdir()
    (tmp_path / "pod").mkdir()
    who = ("-c", "user.name=a", "-c", "user.email=a@b")
    git = partial(subprocess.run, cwd=tmp_path / "origin", check=True, capture_output=True, text=True)
    git(["git", "init", "-q", "-b", "main"])
    for number in range(commits):
        git(["git", *who, "commit", "-q", "--allow-empty", "-m", str(number)])
        git(["git", "tag", f"anime-lora@v{number}.0.0"])
    monkeypatch.chdir(tmp_path / "pod")
    cloning, fetching, _ = (step for one in DEPLOYMENTS["nightly-kubernetes"]["pull"] for step in one.values())
    made = asyncio.run(agit_clone(f"file://{tmp_path}/origin", cloning["branch"]))
    clone = tmp_path / "pod" / made["directory"]
    asyncio.run(run_shell_script(fetching["script"], str(clone)))
    assert len(git(["git", "tag"], cwd=clone).stdout.split()) == commits
    assert git(["git", "rev-list", "--count", "HEAD"], cwd=clone).stdout.strip() == str(commits)
    assert git(["git", "branch", "--show-current"], cwd=clone).stdout.strip() == "main"
