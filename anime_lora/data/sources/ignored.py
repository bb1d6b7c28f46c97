"""Files beside images that are known by their names: nobody's mistake, counted and not opened."""

import re
from collections import defaultdict
from collections.abc import Iterable

from anime_lora.data.sources.source_file import SourceFile, stem, suffix
from anime_lora.image_formats import SUFFIXES

LEFT_BEHIND = {
    ".ds_store", "thumbs.db", "ehthumbs.db", "desktop.ini", ".directory", ".localized", ".nomedia", ".gitignore",
    ".gitattributes", ".gitkeep", ".dvcignore",
}  # fmt: skip
"""Names, in lower case, of files that file managers and version control leave in every folder."""
FOLDERS = {
    "__MACOSX",
    "@eaDir",
    ".git",
    ".ipynb_checkpoints",
    ".AppleDouble",
    ".Trashes",
    ".Spotlight-V100",
    ".thumbnails",
}
"""Folders of shadow files, previews and histories."""
CACHES = (".npz", ".pt", ".safetensors")
"""Suffixes of what other trainers keep beside images: latents and embeddings."""
MASK = re.compile(r"(.*[^/])(?:-masklabel|-condlabel|[-_.]mask)$", re.IGNORECASE)
"""A mask's stem: the image's, and what OneTrainer and others put behind it."""


def ignored_files(paths: Iterable[str]) -> dict[str, str]:
    """Why a file is ignored, by path; the others are images, captions or notes."""
    paths = list(paths)
    reasons = {path: reason for path in paths if (reason := _by_name(path))}
    stems = {path: stem(path) for path in paths if path not in reasons and suffix(path) in SUFFIXES}
    images = {one.lower() for one in stems.values()}
    for path, of in stems.items():
        mask = MASK.match(of)
        if mask and mask[1].lower() in images:
            reasons[path] = "a mask of the image beside it"
    return reasons


def without_ignored(files: Iterable[SourceFile]) -> list[SourceFile]:
    """The files that are not ignored, source by source."""
    by_source: dict[str, list[SourceFile]] = defaultdict(list)
    for file in files:
        by_source[file.source].append(file)
    others = []
    for group in by_source.values():
        ignored = ignored_files(file.path for file in group)
        others += [file for file in group if file.path not in ignored]
    return others


def _by_name(path: str) -> str | None:
    folder, _, name = path.rpartition("/")
    name = name.lower()
    if name in LEFT_BEHIND or name.startswith("._") or name == "icon\\r":
        return "left by a file manager"
    if folder and FOLDERS.intersection(folder.split("/")):
        return "in a folder of previews or histories"
    return "a cache of another trainer" if name.endswith(CACHES) else None
