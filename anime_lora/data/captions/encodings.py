"""The text of a caption file in the encoding it was written in; an error rather than letters that nobody wrote.

UTF-8 proves itself, and so does a byte order mark. The older encodings make letters of nearly any bytes, and three tags
are too short for statistics of whole languages: of such texts charset-normalizer takes one in ten for another language.
So the usual encodings are tried and rated by `plausibility`; where two are alike, a source's other captions decide.
charset-normalizer knows all others, where there is text enough.
"""

import codecs
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from charset_normalizer import from_bytes

from anime_lora.data.captions.plausibility import CONTROL, WIDE, has_kana, is_chance, is_chinese, is_half_width, rate

BOMS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",  # before UTF-16, whose mark it begins with
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
ENCODINGS = ("cp932", "gb18030", "cp1252")
"""What captions are written in beside Unicode; cp1252 is Latin-1 with quotation marks."""
OTHERS = ("big5", "cp949", "cp1251")
"""Where bytes of these look like GB18030, rare characters tell."""
KANA_BYTE = 0x30
"""The first byte of kana in UTF-16, the digit 0 in ASCII."""
UTF_16 = ("utf-16-le", "utf-16-be")
ACCEPTED = 0.5
"""Least rating; the best is 1."""
CLEAR = 0.2
"""So much better than the next one is the best where no further opinion is needed."""
SURE = 0.9
"""Least rating of an encoding that is only taken for want of another one, and of the others that may be meant."""
FEW = 3
"""So many bytes beyond ASCII are needed to take a text for one of `OTHERS`."""
LONG = 24
"""So many bytes beyond ASCII are enough for statistics of languages."""
MOST = 1 << 20
"""A longer text is not given to charset-normalizer, which would take minutes."""
ENOUGH = 6
"""So many characters that are none of the frequent Chinese ones are not Chinese."""


class UnreadableError(Exception):
    """A sidecar that holds no captions that can be read; the message is the reason."""


class UnclearError(UnreadableError):
    """No encoding is plausible, or several are."""


@dataclass(frozen=True)
class Decoded:
    """A text and the encoding it was in."""

    text: str
    encoding: str


def decode_text(content: bytes, usual: str | None = None) -> Decoded:
    """The text, without a byte order mark.

    Args:
        content: of a caption file or table.
        usual: the encoding of other captions of the source; taken where several are plausible.

    Raises:
        UnclearError: no encoding is plausible, or several are.
        UnreadableError: it is no text.
    """
    for mark, encoding in BOMS.items():
        if content.startswith(mark):
            return _checked(_decoded(content, [encoding]))
    if b"\0" in content:
        return _checked(_best(_decoded(content, WIDE), usual))
    if b"\x1b$" in content or b"\x1b(" in content:
        return _checked(_decoded(content, ["iso2022_jp"]))
    if utf_8 := _decoded(content, ["utf-8"]):
        return _unless_by_chance(content, utf_8[0])
    readings = [*_decoded(content, ENCODINGS), *_wide(content)]
    best = _best(readings, usual)
    if not best:
        others = _sure(content, OTHERS) if _beyond_ascii(content) >= FEW else []
        best = _usual(content, usual) or _best(others, usual) or _any_encoding(content)
    elif best[0].encoding == "gb18030":
        best = _check_chinese(content, best[0], usual)
    elif best[0].encoding == "cp932" != usual and is_half_width(best[0].text):
        best = []
    return _checked(best)


def _checked(readings: list[Decoded]) -> Decoded:
    if len(readings) != 1:
        why = f"it could be {' or '.join(one.encoding for one in readings)}" if readings else "none is plausible"
        raise UnclearError(f"no text in UTF-8, UTF-16, Shift-JIS, GB18030 or Latin-1 ({why}): save it as UTF-8")
    if "\0" in readings[0].text:
        raise UnreadableError("no text: it holds zero bytes")
    return readings[0]


def _decoded(content: bytes, encodings: Iterable[str]) -> list[Decoded]:
    """What the bytes are in each encoding in which they are valid."""

    def readings() -> Iterator[Decoded]:
        for encoding in encodings:
            try:
                yield Decoded(content.decode(encoding), encoding)
            except UnicodeDecodeError:
                continue

    return list(readings())


def _sure(content: bytes, encodings: Iterable[str]) -> list[Decoded]:
    """The readings among these that are taken for want of another one."""
    return [one for one in _decoded(content, encodings) if rate(one.text, one.encoding) >= SURE]


def _wide(content: bytes) -> list[Decoded]:
    """UTF-16 without any ASCII, which therefore has no zero bytes: Japanese or Chinese."""
    return [
        one for one in _sure(content, UTF_16)
        if len(one.text) > 2 and (has_kana(one.text) or is_chinese(one.text))
    ]  # fmt: skip


def _usual(content: bytes, usual: str | None) -> list[Decoded]:
    """The encoding of a source's other captions, for rare characters that alone would not be plausible."""
    return [one for one in _decoded(content, [usual] if usual else []) if rate(one.text, one.encoding) >= 0]


def _beyond_ascii(content: bytes) -> int:
    return sum(byte > 0x7F for byte in content)


def _any_encoding(content: bytes) -> list[Decoded]:
    """What charset-normalizer takes a long text for, where it recognises its language."""
    if len(content) > MOST or _beyond_ascii(content) < LONG:
        return []
    match = from_bytes(content).best()
    return [Decoded(str(match), match.encoding)] if match is not None and match.coherence > 0 else []


def _unless_by_chance(content: bytes, utf_8: Decoded) -> Decoded:
    """`utf_8`, unless another encoding explains bytes better that are no text of a language in it."""
    readings = []
    if utf_8.text.isascii():
        odd = bool(CONTROL.search(utf_8.text))
        if odd or max(content[0::2].count(KANA_BYTE), content[1::2].count(KANA_BYTE)) > ENOUGH // 2:
            readings = [one for one in _wide(content) if odd or (has_kana(one.text) and len(one.text) >= ENOUGH)]
    elif is_chance(utf_8.text):
        readings = _sure(content, ["gb18030"])
    return readings[0] if len(readings) == 1 else utf_8


def _best(readings: list[Decoded], usual: str | None) -> list[Decoded]:
    """The likeliest reading; none, or several that differ, where that cannot be told."""
    ratings = {one.encoding: rate(one.text, one.encoding) for one in readings}
    likely = [one for one in readings if ratings[one.encoding] >= ACCEPTED]
    highest = max((ratings[one.encoding] for one in likely), default=0.0)
    close = [one for one in likely if ratings[one.encoding] > highest - CLEAR]
    if len({one.text for one in close}) < 2:
        return close[:1]
    return [one for one in close if one.encoding == usual] or close


def _check_chinese(content: bytes, chinese: Decoded, usual: str | None) -> list[Decoded]:
    """Korean, Traditional Chinese and Cyrillic bytes are GB18030 too, of characters that Chinese texts hardly hold.

    Japanese in EUC has its kana at the same places: they tell.
    """
    if has_kana(chinese.text):
        return _decoded(content, ["euc_jp"])
    if is_chinese(chinese.text) or usual == "gb18030":
        return [chinese]
    others = _sure(content, OTHERS)
    if not others:
        return [chinese]
    if named := [one for one in others if one.encoding == usual]:
        return named
    if sum(not one.isascii() for one in chinese.text) < ENOUGH:
        return [chinese, *others]
    return others
