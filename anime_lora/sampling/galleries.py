"""The galleries: which generated images stand beside each other, and what is written at their rows and columns."""

from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

from anime_lora.images import read_size
from anime_lora.sampling.grids import Sheet
from anime_lora.sampling.suite import Shot

Images = dict[Shot, Path]
"""The PNG of each shot."""
Sources = dict[str, Path]
"""The image of each source, or of its true counterpart where it has one, by the source's name."""
TRIGGER_ARMS = {
    "base-plain": "base, no trigger",
    "base-trigger": "base, trigger",
    "lora-plain": "LoRA, no trigger",
    "lora-trigger": "LoRA, trigger",
}
ARMS = {"base": "base", "lora": "LoRA", "second": "second LoRA", "both": "both"}
SOURCES_PER_SHEET = 8


def sheets(images: Images, sources: Sources, counterparts: Sources) -> Iterator[Sheet]:
    """The sheets of every gallery that has images."""
    galleries: dict[str, Images] = defaultdict(dict)
    for shot, file in images.items():
        galleries[shot.gallery][shot] = file
    if trigger := galleries["trigger"]:
        yield from _trigger(trigger)
    if styles := galleries["styles"]:
        yield _styles(styles)
    if guidance := galleries["guidance"]:
        yield _table("guidance", "Guidance", guidance, _prompt, lambda shot: f"guidance {shot.guidance:g}")
    if scale := galleries["scale"]:
        yield _table("scale", "LoRA scale", scale, _prompt, lambda shot: f"scale {shot.lora_scale:g}")
    if strength := galleries["strength"]:
        first_seed = next(iter(strength)).seed
        people = {shot: file for shot, file in strength.items() if shot.seed == first_seed}
        yield from _people(people, sources)
        yield from _strength(people, sources, counterparts)
    if drift := galleries["drift"]:
        yield _table("drift", "Unrelated prompts", drift, lambda shot: ARMS[shot.arm], _prompt)
    if combining := galleries["combining"]:
        yield _table("combining", "Two LoRAs", combining, lambda shot: ARMS[shot.arm], _prompt)


def _table(name: str, title: str, images: Images, row: Callable[[Shot], str], column: Callable[[Shot], str]) -> Sheet:
    """Images by two labels; rows and columns stand in the order in which they first come."""
    rows = list(dict.fromkeys(row(shot) for shot in images))
    columns = list(dict.fromkeys(column(shot) for shot in images))
    cells = {(row(shot), column(shot)): file for shot, file in images.items()}
    return Sheet(name, title, columns, rows, [[cells.get((one, other)) for other in columns] for one in rows])


def _prompt(shot: Shot) -> str:
    return shot.cluster


def _trigger(images: Images) -> Iterator[Sheet]:
    """Base beside LoRA, features, and the 2×2, all from the same images."""
    seed = next(iter(images)).seed
    with_trigger = {shot: file for shot, file in images.items() if shot.seed == seed and shot.trigger}
    yield _table(
        "base-lora", "Base beside LoRA, same noise", with_trigger, lambda shot: ARMS[shot.arm.split("-")[0]], _prompt
    )
    features = {shot: file for shot, file in images.items() if shot.arm == "lora-trigger"}
    yield _table("features", "Features asked for, LoRA", features, lambda shot: f"seed {shot.seed}", _prompt)
    all_arms = {shot: file for shot, file in images.items() if shot.seed == seed}
    yield _table(
        "trigger", "LoRA on and off, trigger on and off", all_arms, lambda shot: TRIGGER_ARMS[shot.arm], _prompt
    )


def _styles(images: Images) -> Sheet:
    return _table(
        "styles",
        "Style words and guidance, LoRA",
        images,
        lambda shot: shot.style or "no style word",
        lambda shot: f"{shot.cluster}, guidance {shot.guidance:g}",
    )


def _people(images: Images, sources: Sources) -> Iterator[Sheet]:
    """Source, base, LoRA: one above the other, on the same noise, at the greatest strength both were generated at."""
    base, lora = ({shot.strength for shot in images if shot.arm == arm} for arm in ("base", "lora"))
    shared = [strength for strength in base & lora if strength is not None]
    if not shared:
        return
    cells = {(shot.arm, shot.source): file for shot, file in images.items() if shot.strength == max(shared)}
    names = list(dict.fromkeys(str(shot.source) for shot in images))[:SOURCES_PER_SHEET]
    rows: list[list[Path | None]] = [[sources.get(name) for name in names]]
    rows += [[cells.get((arm, name)) for name in names] for arm in ("base", "lora")]
    title = f"A person, the base's answer, the LoRA's (img2img, strength {max(shared):g}, same noise)"
    yield Sheet("people", title, [""] * len(names), ["source", "base", "LoRA"], rows)


def _strength(images: Images, sources: Sources, counterparts: Sources) -> Iterator[Sheet]:
    """Source, LoRA by strength, with the ControlNet, the true counterpart where it is known, and the base."""
    names = list(dict.fromkeys(str(shot.source) for shot in images))
    lora, control, base = (
        list(dict.fromkeys(shot.strength for shot in images if shot.arm == arm)) for arm in ("lora", "control", "base")
    )
    cells = {(shot.source, shot.arm, shot.strength): file for shot, file in images.items()}
    has_counterparts = any(name in counterparts for name in names)
    columns = ["source", *(f"LoRA {strength:g}" for strength in lora)]
    columns += [f"ControlNet {strength:g}" for strength in control]
    columns += ["true counterpart"] * has_counterparts
    columns += [f"base {strength:g}" for strength in base]
    for page, start in enumerate(range(0, len(names), SOURCES_PER_SHEET), 1):
        rows: list[list[Path | None]] = []
        for name in names[start : start + SOURCES_PER_SHEET]:
            row = [sources.get(name)]
            row += [cells.get((name, "lora", strength)) for strength in lora]
            row += [cells.get((name, "control", strength)) for strength in control]
            row += [counterparts.get(name)] * has_counterparts
            row += [cells.get((name, "base", strength)) for strength in base]
            rows.append(row)
        title = "A person becomes anime: img2img by strength"
        title += f", page {page}" if len(names) > SOURCES_PER_SHEET else ""
        yield Sheet(f"strength-{page}", title, columns, [""] * len(rows), rows)


def epochs(folder: Path) -> Sheet | None:
    """The strips that training generated after each epoch, one row each; None where there is none."""
    strips = sorted(folder.glob("epoch-*.png"))
    if not strips:
        return None
    width, height = read_size(strips[0])
    names = [f"epoch {int(file.stem.split('-')[1])}" for file in strips]
    return Sheet("epochs", "Epoch by epoch, same noise", [""], names, [[file] for file in strips], width / height)
