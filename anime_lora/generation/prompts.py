"""Prompts as people paste them, in A1111's syntax: weights, `<lora:…>` tags, escapes, BREAK.

Written here, since no package on PyPI reads it: compel 2.5.1 has a syntax of its own (`word+`, `(word)1.2`), in which
`(word:1.2)` is the text `word:1 . 2` at weight 1, `((word))` has weight 1, and `[word]` and BREAK are letters.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

ROUND, SQUARE = 1.1, 1 / 1.1
"""What one pair of brackets multiplies the weight of the text between them by."""
BREAK = "\x1e"
"""Text of a segment that ends a chunk of tokens; no tokenizer gives it a token."""
TOKEN = re.compile(
    r"""
      \\(?P<escaped>[()\[\]\\])
    | (?P<open>[(\[])
    | :\s*(?P<weight>[+-]?(?:\d+\.?\d*|\.\d+))\s*\)
    | (?P<close>[)\]])
    | (?P<text>[^\\()\[\]:]+|.)
    """,
    re.VERBOSE | re.DOTALL,
)
TAG = re.compile(r"<(?P<kind>\w+):(?P<arguments>[^>]+)>")
EDITING = re.compile(r"(?<!\\)\[(?P<inner>(?:[^\[\]\\]|\\.)*)\]")
LORA_KINDS = {"lora", "lyco"}


@dataclass(frozen=True)
class Segment:
    """Text whose tokens share a weight."""

    text: str
    weight: float = 1.0


@dataclass(frozen=True)
class LoraTag:
    """A `<lora:name:weight>` of a prompt; `text_weight` is the text encoder's."""

    name: str
    weight: float = 1.0
    text_weight: float | None = None
    """None: as `weight`."""


def segments(prompt: str) -> list[Segment]:
    r"""The prompt's text with its weights, neighbours of one weight joined; `BREAK` stands as a segment of its own.

    `(a)` multiplies by 1.1, `[a]` divides by it, `(a:1.3)` multiplies by 1.3; brackets nest. `\(` is a bracket that is
    read as one. A bracket that is never closed counts until the end, one that was never opened is text.
    """
    texts: list[str] = []
    weights: list[float] = []
    opened: dict[str, list[int]] = {"(": [], "[": []}

    def multiply(start: int, factor: float) -> None:
        weights[start:] = [weight * factor for weight in weights[start:]]

    for match in TOKEN.finditer(prompt):
        if match["open"]:
            opened[match["open"]].append(len(texts))
        elif match["weight"] and opened["("]:
            multiply(opened["("].pop(), float(match["weight"]))
        elif match["close"] == ")" and opened["("]:
            multiply(opened["("].pop(), ROUND)
        elif match["close"] == "]" and opened["["]:
            multiply(opened["["].pop(), SQUARE)
        else:
            for text in _at_breaks(match["escaped"] or match[0].removeprefix("\\")):
                texts.append(text)
                weights.append(1.0)
    for start in opened["("]:
        multiply(start, ROUND)
    for start in opened["["]:
        multiply(start, SQUARE)
    return list(_joined(texts, weights))


def _at_breaks(text: str) -> Iterator[str]:
    for number, part in enumerate(re.split(r"\s*\bBREAK\b\s*", text)):
        if number:
            yield BREAK
        yield part


def _joined(texts: list[str], weights: list[float]) -> Iterator[Segment]:
    """Segments without empty ones; neighbours of the same weight are one."""
    whole: Segment | None = None
    for text, weight in zip(texts, weights, strict=True):
        if text == BREAK:
            if whole:
                yield whole
            yield Segment(BREAK)
            whole = None
        elif whole and whole.weight == weight:
            whole = Segment(whole.text + text, weight)
        elif text:
            if whole:
                yield whole
            whole = Segment(text, weight)
    if whole:
        yield whole


def lora_tags(prompt: str) -> tuple[str, list[LoraTag], list[str]]:
    """The prompt without its `<…>` tags, the LoRAs among them, and a sentence for each tag that is left out."""
    tags: list[LoraTag] = []
    notes: list[str] = []
    for match in TAG.finditer(prompt):
        try:
            if match["kind"].lower() not in LORA_KINDS:
                raise ValueError
            tags.append(_lora_tag(match["arguments"]))
        except ValueError:
            notes.append(f"{match[0]} in the prompt is left out: only <lora:NAME:WEIGHT> is read")
    text = TAG.sub("", prompt)
    return (text.rstrip() if tags or notes else text), tags, notes


def _lora_tag(arguments: str) -> LoraTag:
    """A tag's `name:weight`, `name:text encoder:unet` or the same with `te=` and `unet=`."""
    name, *rest = arguments.split(":")
    named = dict(part.split("=", 1) for part in rest if "=" in part)
    plain = [float(part) for part in rest if "=" not in part]
    text_weight = float(named.get("te", plain[0] if plain else 1.0))
    weight = float(named.get("unet", plain[1] if len(plain) > 1 else text_weight))
    return LoraTag(name, weight, None if text_weight == weight else text_weight)


def without_editing(prompt: str) -> tuple[str, list[str]]:
    """The prompt without prompt editing, alternation and AND, and a sentence for each that was replaced.

    Those change the prompt between steps or add predictions. `[a:b:0.3]` becomes what most of the steps would see,
    `[a|b]` its first, `AND` a comma.
    """
    notes: list[str] = []

    def replace(match: re.Match[str]) -> str:
        parts = match["inner"].split(":")
        if "|" in match["inner"]:
            chosen = match["inner"].split("|")[0]
        elif len(parts) in {2, 3} and _is_number(parts[-1]):
            early = _early(float(parts[-1]))
            chosen = parts[-2] if early else parts[0] * (len(parts) == 3)
        elif len(parts) == 3 and not parts[2]:
            chosen = parts[0]
        else:
            return match[0]
        notes.append(f"{match[0]} changes the prompt between steps, which is not done here: read as '{chosen}'")
        return chosen

    text = EDITING.sub(replace, prompt)
    if re.search(r"\bAND\b", text):
        notes.append("AND (composable prompts) is not done here: read as a comma")
        text = re.sub(r"\s*\bAND\b\s*", ", ", text)
    return text, notes


def _is_number(text: str) -> bool:
    return re.fullmatch(r"\s*(\d+\.?\d*|\.\d+)\s*", text) is not None


def _early(moment: float) -> bool:
    """Whether a change lies in the first half: a share below 1, else a number of steps, of about 20."""
    return moment < 0.5 if moment < 1 else moment < 10
