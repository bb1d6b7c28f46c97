"""The mission's galleries: which generated images stand beside each other."""

from collections.abc import Callable, Iterator
from pathlib import Path

from anime_lora.images import read_size
from anime_lora.sampling.grids import Sheet
from anime_lora.sampling.suite import Shot

Files = dict[Shot, Path]
"""The PNG of each shot."""
Sources = dict[str, Path]
"""The image of each source, or of its true counterpart where it has one."""
ARMS = {
    "base-plain": "base, no trigger",
    "base-trigger": "base, trigger",
    "lora-plain": "LoRA, no trigger",
    "lora-trigger": "LoRA, trigger",
}
PAGE = 8
"""Sources on one sheet of the strength gallery."""


def sheets(files: Files, sources: Sources, counterparts: Sources) -> Iterator[Sheet]:
    """Every gallery as sheets; an empty gallery gives none."""
    yield from _trigger(_of(files, "trigger"))
    yield from _styles(_of(files, "styles"))
    yield from _swept(_of(files, "guidance"), "Guidance", lambda shot: f"guidance {shot.guidance:g}")
    yield from _swept(_of(files, "scale"), "LoRA scale", lambda shot: f"scale {shot.lora_scale:g}")
    people = _first_seed(_of(files, "strength"))
    yield from _people(people, sources)
    yield from _strength(people, sources, counterparts)
    yield from _arms(_of(files, "drift"), "Unrelated prompts", {"base": "base", "lora": "LoRA"})
    names = {"base": "base", "lora": "LoRA", "second": "second LoRA", "both": "both"}
    yield from _arms(_of(files, "combining"), "Two LoRAs", names)


def _of(files: Files, gallery: str) -> Files:
    return {shot: file for shot, file in files.items() if shot.gallery == gallery}


def _first_seed(files: Files) -> Files:
    seeds = [shot.seed for shot in files]
    return {shot: file for shot, file in files.items() if shot.seed == seeds[0]}


def _table(name: str, title: str, files: Files, row: Callable[[Shot], str], column: Callable[[Shot], str]) -> Sheet:
    """Images by two labels; rows and columns stand in the order in which they first come."""
    rows = list(dict.fromkeys(row(shot) for shot in files))
    columns = list(dict.fromkeys(column(shot) for shot in files))
    place = {(row(shot), column(shot)): file for shot, file in files.items()}
    return Sheet(name, title, columns, rows, [[place.get((one, other)) for other in columns] for one in rows])


def _trigger(files: Files) -> Iterator[Sheet]:
    """Base beside LoRA, features, and the 2×2, all from the same images."""
    if not files:
        return
    seed = next(iter(files)).seed
    pair = {shot: file for shot, file in files.items() if shot.seed == seed and shot.trigger}
    yield _table("base-lora", "Base beside LoRA, same noise", pair, lambda s: _word(s.arm), lambda s: s.cluster)
    generated = {shot: file for shot, file in files.items() if shot.arm == "lora-trigger"}
    yield _table("features", "Features asked for, LoRA", generated, lambda s: f"seed {s.seed}", lambda s: s.cluster)
    first = {shot: file for shot, file in files.items() if shot.seed == seed}
    yield _table("trigger", "LoRA on and off, trigger on and off", first, lambda s: ARMS[s.arm], lambda s: s.cluster)


def _word(arm: str) -> str:
    return "LoRA" if arm.startswith("lora") else "base"


def _styles(files: Files) -> Iterator[Sheet]:
    if files:
        yield _table(
            *("styles", "Style words and guidance, LoRA", files),
            lambda shot: shot.style or "no style word",
            lambda shot: f"{shot.cluster}, guidance {shot.guidance:g}",
        )


def _swept(files: Files, title: str, column: Callable[[Shot], str]) -> Iterator[Sheet]:
    if files:
        yield _table(next(iter(files)).gallery, title, files, lambda shot: shot.cluster, column)


def _arms(files: Files, title: str, arms: dict[str, str]) -> Iterator[Sheet]:
    if files:
        name = next(iter(files)).gallery
        yield _table(name, title, files, lambda shot: arms[shot.arm], lambda shot: shot.cluster)


def _people(files: Files, sources: Sources) -> Iterator[Sheet]:
    """Source, base, LoRA: one above the other, on the same noise, at the greatest strength both were generated at."""
    generated: dict[str, set[float | None]] = {
        arm: {shot.strength for shot in files if shot.arm == arm} for arm in ("base", "lora")
    }
    shared = [strength for strength in generated["base"] & generated["lora"] if strength is not None]
    if not shared:
        return
    place = {(shot.arm, shot.source): file for shot, file in files.items() if shot.strength == max(shared)}
    names = list(dict.fromkeys(str(shot.source) for shot in files))[:PAGE]
    cells: list[list[Path | None]] = [[sources.get(name) for name in names]]
    cells += [[place.get((arm, name)) for name in names] for arm in ("base", "lora")]
    title = f"A person, the base's answer, the LoRA's (img2img, strength {max(shared):g}, same noise)"
    yield Sheet("people", title, [""] * len(names), ["source", "base", "LoRA"], cells)


def _strength(files: Files, sources: Sources, counterparts: Sources) -> Iterator[Sheet]:
    """Source, LoRA by strength, with the ControlNet, the true counterpart where it is known, and the base."""
    names = list(dict.fromkeys(str(shot.source) for shot in files))
    control = list(dict.fromkeys(shot.strength for shot in files if shot.arm == "control"))
    lora = list(dict.fromkeys(shot.strength for shot in files if shot.arm == "lora"))
    base = list(dict.fromkeys(shot.strength for shot in files if shot.arm == "base"))
    place = {(shot.source, shot.arm, shot.strength): file for shot, file in files.items()}
    truth = any(name in counterparts for name in names)
    heads = ["source", *(f"LoRA {strength:g}" for strength in lora), *(f"ControlNet {one:g}" for one in control)]
    heads += ["true counterpart"] if truth else []
    for page, start in enumerate(range(0, len(names), PAGE), 1):
        cells: list[list[Path | None]] = []
        for name in names[start : start + PAGE]:
            row: list[Path | None] = [sources.get(name)]
            row += [place.get((name, "lora", strength)) for strength in lora]
            row += [place.get((name, "control", strength)) for strength in control]
            row += [counterparts.get(name)] if truth else []
            cells.append(row + [place.get((name, "base", strength)) for strength in base])
        title = "A person becomes anime: img2img by strength" + (f", page {page}" if len(names) > PAGE else "")
        columns = [*heads, *(f"base {strength:g}" for strength in base)]
        yield Sheet(f"strength-{page}", title, columns, [""] * len(cells), cells)


def epochs(folder: Path) -> Sheet | None:
    """The strips that training generated after each epoch, one row each; None where there is none."""
    strips = sorted(folder.glob("epoch-*.png"))
    if not strips:
        return None
    width, height = read_size(strips[0])
    names = [f"epoch {int(file.stem.split('-')[1])}" for file in strips]
    return Sheet("epochs", "Epoch by epoch, same noise", [""], names, [[file] for file in strips], width / height)
