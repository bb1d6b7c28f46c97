"""How plausible the characters are that an encoding makes of some bytes.

Chinese, Japanese and Korean standards sort their characters into common and rare ones. Bytes that are read in a wrong
encoding become rare characters, half-width katakana, kanji inside Latin words, or capitals after small letters.
"""

import re
import unicodedata
from functools import lru_cache

STANDARDS = {
    "cp932": ("euc_jp", range(0xB0, 0xD0)),
    "gb18030": ("gb2312", range(0xB0, 0xD8)),
    "cp949": ("euc_kr", range(0xB0, 0xC9)),
    "big5": ("big5", range(0xA4, 0xC7)),
    "euc_jp": ("euc_jp", range(0xB0, 0xD0)),
}
"""Of each Asian encoding the standard behind it, and the first bytes that its common characters have there."""
JAPANESE = ("cp932", "euc_jp", "utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be")
"""Encodings in which kana are expected."""
WIDE = ("utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be")
"""Encodings in which ASCII must be plausible, too."""
ASIAN_PUNCTUATION = frozenset("　、。〈〉《》「」『』【】・ー〜～！（），．：；？￥…—‘’“”·")
ASIAN_SYMBOLS = frozenset("★☆○●◎◇◆□■△▲▽▼※→←↑↓♪♂♀①②③④⑤")
LATIN_PUNCTUATION = frozenset("‘’“”–—…«»°·¿¡€©®£½¼¾•™§")
SAMPLE = 20_000
"""So many characters tell as much as a whole table."""
CONTROL = re.compile(r"[\x00-\x08\x0e-\x19\x1b-\x1f\x7f]")
"""Control characters that no text file holds."""
FREQUENT = frozenset(
    "的一是不了在有人我他这个们中来上大为和国地到以说时要就出会可也你对生能而子那得于着下自之年过发后作里用道行所然家种事成方多经么去法学如都同现当没动面起看定天分还进好小部其些主样理心她本"
    "前开但因只从想实日军者意无力它与长把机十民第公此已工使情明性知全三又关点正业外将两高间由问很最重并物手应战向头文体政美相见被利什二等产或新己制身果加西斯月话合回特代内信表化老给世位次度"
    "门任常先海通教儿原东声提立及比员解水名真论处走义各入几口认条平系气题活尔更别打女变四神总何电数安少报才结反受目太量再感建务做接必场件计管期市直德资命山金指克许统区保至队形社便空决治展马"
    "科司五基眼书非则听白却界达光放强即像难且权思王象完设式色路记南品住告类求据程北边死张该交规万取拉格望觉术领共确传师观清今切院让识候带导争运猫耳蓝黑红银紫绿粉橙灰棕短双辫裙帽镜微笑脸唇瞳"
    "侧樱花孩衣服校装巾丝蝶鼻嘴牙泪汗肩颈臂腿脚鞋袜袖尾角翅膀星云雪雨风夜晚窗墙树草背景站坐躺跪抱拿穿戴卷散乱刘环链剑枪刀伞漫画爱音未初巫仆护士兔狐龙狼熊鸟单独肖写半仰俯视闭睁晕害羞怒哭惊讶"
)
"""The most frequent characters of modern Chinese and of captions: most of any text is written with them."""


def rate(text: str, encoding: str) -> float:
    """The mean over the characters beyond ASCII: 1 as expected, 0 rare, down to -2 for signs of a wrong encoding."""
    text = text[:SAMPLE]
    spaced = f" {text} "
    marks = [
        _rate_character(spaced[place], spaced[place - 1], spaced[place + 1], encoding)
        for place in range(1, len(spaced) - 1)
        if encoding in WIDE or not spaced[place].isascii() or CONTROL.match(spaced[place])
    ]
    if encoding == "cp1252" and sum(one.isascii() and one.isalpha() for one in text) < len(marks):
        return -1.0
    return sum(marks) / len(marks) if marks else 0.0


def is_chinese(text: str) -> bool:
    """Whether as many of the characters are frequent ones as a Chinese text has: one in three at least."""
    characters = [one for one in text if "\u4e00" <= one <= "\u9fff"]
    return bool(characters) and sum(one in FREQUENT for one in characters) * 3 >= len(characters)


def is_half_width(text: str) -> bool:
    """Whether half of the characters beyond ASCII are half-width katakana, as Chinese is that is read as Shift-JIS."""
    return sum("ｦ" <= one <= "ﾟ" for one in text) * 2 >= sum(not one.isascii() for one in text)


def has_kana(text: str) -> bool:
    """Whether the text is Japanese: two of its characters and one in six beyond ASCII are kana."""
    kana = sum("ぁ" <= one <= "ヾ" for one in text)
    return kana > 1 and kana * 6 >= sum(not one.isascii() for one in text)


def is_chance(text: str) -> bool:
    """Whether bytes are UTF-8 by chance, as two Chinese characters in GB18030 can be: no letters of a language."""
    scripts = set()
    for before, one in zip(" " + text, text, strict=False):
        if one.isascii():
            continue
        if one > "\u07ff":
            return False
        letter = unicodedata.category(one).startswith("L")
        if letter and one not in USUAL_LETTERS:
            return True
        if not letter and not ("\xa0" <= one <= "\xbf" or ("\u0300" <= one <= "\u0328" and before.isalpha())):
            return True
        scripts |= {unicodedata.name(one).split(" ")[0]} if letter else set()
    return len(scripts) > 1


USUAL_LETTERS = frozenset(
    chr(code)
    for first, last in [(0xC0, 0x13E), (0x141, 0x148), (0x14A, 0x17E), (0x18F, 0x18F), (0x1A0, 0x1B0), (0x218, 0x21B),
                        (0x386, 0x3A9), (0x3AC, 0x3CE), (0x401, 0x45F), (0x490, 0x491), (0x531, 0x587), (0x5D0, 0x5EA),
                        (0x620, 0x64A), (0x671, 0x6D3)]
    for code in range(first, last + 1)
)  # fmt: skip
"""Letters of up to two bytes in UTF-8 that living languages write."""


def _rate_character(character: str, before: str, after: str, encoding: str) -> float:
    if (
        CONTROL.match(character)
        or unicodedata.category(character) in {"Cn", "Co", "Cs"}
        or "\x80" <= character <= "\x9f"
    ):
        return -2.0
    if character.isascii() or (encoding in WIDE and character < "\u0530" and character.isalpha()):
        return 1.0
    if encoding in {"cp1252", "cp1251"}:
        return _rate_latin(character, before, after, encoding)
    return _rate_asian(character, before, after, encoding)


def _rate_asian(character: str, before: str, after: str, encoding: str) -> float:
    kana = "ぁ" <= character <= "ヾ"
    if kana or character in ASIAN_PUNCTUATION or "！" <= character <= "～":
        return 0.0 if kana and encoding not in JAPANESE else 1.0
    half_width = "ｦ" <= character <= "ﾟ" and any("ｦ" <= one <= "ﾟ" for one in (before, after))
    if (
        half_width or character in ASIAN_SYMBOLS
    ):  # a word of half-width kana is Japanese, or Chinese that is read wrongly
        return 0.5
    if character.isalpha() and unicodedata.east_asian_width(character) == "W":
        # a single one beside a Latin letter is more often an accented letter that was read with its neighbour
        alone = before.isascii() and after.isascii() and (before.isalpha() or after.isalpha())
        return -1.0 if alone else _commonness(character, encoding)
    return -1.0


@lru_cache(maxsize=8192)
def _commonness(character: str, encoding: str) -> float:
    """1 for a common character of the encoding's own standard, 0 for a rare one, -1 for one beyond it."""
    own = STANDARDS.get(encoding)
    for standard, common in [own] if own else [STANDARDS[name] for name in ("cp932", "gb18030", "cp949")]:
        try:
            code = character.encode(standard)
        except UnicodeEncodeError:
            continue
        if len(code) == 2 and code[0] in common:
            return 1.0
        if own:
            return 0.0
    return 0.0 if encoding == "cp932" else -1.0  # IBM's and NEC's additions are names


def _rate_latin(character: str, before: str, after: str, encoding: str) -> float:
    inside = before.isalpha() and after.isalpha()
    if character in LATIN_PUNCTUATION:
        return 0.5 if not inside or character in "‘’“”–—…·" else -1.0
    if not character.isalpha() or character in "ªºƒˆµ" or before.isdigit() or after.isdigit():
        return -1.0
    if character.isupper() and before.islower():
        return -1.0
    if encoding == "cp1251":
        beside_latin = any(one.isascii() and one.isalpha() for one in (before, after))
        return 1.0 if "А" <= character <= "ё" and not beside_latin else -1.0
    if character in "œŸ" and after.lower() not in "uiv":
        return -1.0
    neighbours = sum(one.isalpha() and not one.isascii() for one in (before, after))
    return -1.0 if character.isupper() and neighbours else (1.0, 0.7, -1.0)[neighbours]
