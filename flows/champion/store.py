"""The published LoRA: `models/champion/`, kept by DVC, named by `models/champion.dvc` in Git.

It is no stage's input, so a promotion makes nothing stale. It counts once it is committed: what a killed run left
uncommitted is put back to what HEAD says.
"""

import shutil
from pathlib import Path

from anime_lora.config import paths
from anime_lora.files import check_no_foreign_files, fresh_folder, sha256_file
from flows.errors import ChampionError, CommandFailedError
from flows.runtime.dvc import dvc
from flows.runtime.git import has_file, restore_files

FOLDER = Path("models/champion")
UNFINISHED = FOLDER.with_name(f".{FOLDER.name}.tmp")
"""What `fresh_folder` writes first: it is there only while the champion is exchanged, or after a kill."""
POINTER = Path("models/champion.dvc")
ADAPTER = "pytorch_lora_weights.safetensors"
SCORES = paths.EVALUATE / "scores.json"
CURVES = Path("plots/heldout.csv")
WRITES = (ADAPTER, "record.json", "scores.json", CURVES.as_posix())
"""What a promotion writes, as patterns; `record.json` names the file that is called after the concept."""


def trained_sha256() -> str:
    """sha256 of the LoRA just trained."""
    return sha256_file(paths.TRAIN / ADAPTER)


def champion_sha256() -> str | None:
    """sha256 of the champion's LoRA, once `models/champion/` holds what its .dvc file names; None: there is none.

    Raises:
        ChampionError: the files that `models/champion.dvc` names are nowhere.
    """
    if not POINTER.is_file():
        return None
    checkout()
    return sha256_file(FOLDER / ADAPTER)


def checkout() -> None:
    """Give `models/champion/` the bytes that its .dvc file names.

    Raises:
        OutputError: the folder holds other files, which DVC would delete.
        ChampionError: neither DVC's cache nor its remote has them.
    """
    check_no_foreign_files(FOLDER, WRITES)
    try:
        dvc("checkout", "--force", str(POINTER))
        return
    except CommandFailedError:
        pass  # not in the cache of this machine
    try:
        dvc("pull", "--force", str(POINTER))
    except CommandFailedError as error:
        raise ChampionError(f"the champion of {POINTER} is neither in DVC's cache nor on its remote: {error}") from None


def publish() -> None:
    """Make the LoRA just trained the champion: its files, its record, its scores; add them to DVC."""
    with fresh_folder(FOLDER, WRITES) as folder:
        for file in (*sorted(paths.TRAIN.glob("*.safetensors")), paths.TRAIN / "record.json", SCORES):
            shutil.copyfile(file, folder / file.name)
        if (paths.TRAIN / CURVES).is_file():
            (folder / CURVES).parent.mkdir()
            shutil.copyfile(paths.TRAIN / CURVES, folder / CURVES)
    dvc("add", "--quiet", str(FOLDER))


def is_unpromoted(promoted: set[str]) -> bool:
    """Whether `models/champion/` is half written, or holds a LoRA that was never promoted: Git sees neither.

    Args:
        promoted: sha256 of every LoRA that was.
    """
    file = FOLDER / ADAPTER
    return UNFINISHED.exists() or (file.is_file() and sha256_file(file) not in promoted)


def restore() -> None:
    """Put the champion back to the one HEAD names, or to none."""
    check_no_foreign_files(FOLDER, WRITES)
    shutil.rmtree(UNFINISHED, ignore_errors=True)
    restore_files(POINTER)
    if has_file("HEAD", POINTER):
        checkout()
    else:
        shutil.rmtree(FOLDER, ignore_errors=True)
