import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.house.doors import ROOT


@pytest.mark.slow
def test_the_wheel_holds_the_library_only_and_all_of_it(tmp_path: Path) -> None:
    tracked = subprocess.run(["git", "ls-files", "anime_lora"], cwd=ROOT, capture_output=True, text=True, check=True)
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(tmp_path), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True)
    names = set(zipfile.ZipFile(next(tmp_path.glob("*.whl"))).namelist())
    packed = {name for name in names if ".dist-info/" not in name}
    assert packed == set(tracked.stdout.split())
