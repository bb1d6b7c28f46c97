"""Tag lists and sentences in the encodings that captions are written in: never other letters than were written."""

import pytest

from anime_lora.data.captions.encodings import UnreadableError, decode_text

JAPANESE = """少女|少女, 青い髪|青い髪|1girl, 金髪, 青い目|黒髪|笑顔|猫耳|制服|赤いリボン|ポニーテール|眼鏡|花
帽子|和服, 桜|横顔|ツインテール, 微笑み|1girl, solo, 眼鏡, 笑顔|かわいい|銀髪
少女が笑っている、青い髪|ショートヘア|初音ミク|Tシャツ|緑髪, 短髪
長い黒髪の女の子が窓のそばに立っている。|セーラー服, 夕焼け|アニメ調の顔|紫の瞳|iPhoneを持つ少女
「こんにちは」と言う少年"""
CHINESE = """少女|一个女孩|蓝色头发|1girl, 蓝发, 微笑|黑发|红眼睛|双马尾|校服|金发，蓝眼，微笑|长发|短发, 眼镜
猫耳|可爱|水手服|花|一个女孩，蓝色的头发，微笑着看着镜头|女孩穿着白色连衣裙站在海边。
1girl, solo, 银发|紫色瞳孔|帽子|动漫风格的脸|侧脸|初音未来|侧脸，绿色短发|樱花下的少女|微笑
戴眼镜的男孩|蝴蝶结|红色丝带|正面|目录|未知|1girl, 太小"""
LATIN = """café|une fille aux cheveux bleus, très élégante|élégante|niña sonriente|niña|señorita, ojos azules
garçon|øl|École|Mädchen mit grünen Augen|blonde Mädchen, lächelnd|cheveux châtains|Pokémon
girl’s portrait|1girl, Pokémon, blue eyes|naïve|fille à lunettes|Übergröße|straße|coração
menina com cabelo loiro, expressão séria|blå øyne|“smile”|50 °C|jalapeño|rød hår, smilende jente
fiancée|résumé – portrait|cheveux courts, yeux dorés, arrière-plan flou"""


def captions(text: str) -> list[str]:
    return [caption for line in text.split("\n") for caption in line.split("|")]


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        (JAPANESE, "utf-8"), (JAPANESE, "utf-8-sig"), (JAPANESE, "utf-16"), (JAPANESE, "utf-32"),
        (JAPANESE, "cp932"), (JAPANESE, "iso2022_jp"),
        (CHINESE, "utf-8"), (CHINESE, "utf-16"), (CHINESE, "gb18030"),
        (LATIN, "utf-8"), (LATIN, "cp1252"), (LATIN, "utf-16-le"), (LATIN, "utf-16-be"), (LATIN, "utf-32-le"),
    ],
)  # fmt: skip
def test_a_caption_is_read_as_it_was_written(text: str, encoding: str) -> None:
    for caption in captions(text):
        assert decode_text(caption.encode(encoding)).text == caption


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf_16_without_a_mark_is_known_by_its_zero_bytes_or_its_kana(encoding: str) -> None:
    """Where there is neither a comma, a digit nor kana, few characters are too few to tell."""
    for caption in [*captions(JAPANESE), *captions(CHINESE)]:
        content = caption.encode(encoding)
        kana = sum("ぁ" <= character <= "ヾ" for character in caption)
        if b"\0" in content or kana > 5:
            assert decode_text(content).text == caption


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("девушка с длинными волосами", "cp1251"),
        ("穿著白色連身裙的女孩", "big5"),
        ("소녀가 창가에 서서 밖을 바라보고 있다. 파란 머리의 소녀가 안경을 쓰고 웃는 얼굴로 손을 흔든다.", "cp949"),
        ("dziewczyna o długich włosach, uśmiechnięta, w niebieskiej sukience. Zażółć gęślą jaźń. " * 3, "cp1250"),
    ],
)
def test_longer_texts_are_read_in_other_encodings_too(text: str, encoding: str) -> None:
    assert decode_text(text.encode(encoding)).text == text


def test_text_in_the_wrong_encoding_is_named_rather_than_guessed() -> None:
    """Cut in the middle of a character, two encodings in one file, random bytes, another language's letters."""
    contents = [
        "少女, 青い髪".encode()[:-1], "少女".encode("cp932") + "少女".encode(), bytes(range(128, 256)), b"\x80\xff",
        "włosy".encode("cp1250"), b"a\0b\0\0c", b"\x1b$B\xff", "웃는 얼굴".encode("cp949"),
    ]  # fmt: skip
    for content in contents:
        with pytest.raises(UnreadableError):
            decode_text(content)


def test_plain_ascii_stays_as_it_is() -> None:
    for text in ("", "1girl", "girl, blue hair", "a\tb\r\nc", "blue_hair_long_hair_", "0a0b0c"):
        assert decode_text(text.encode()).text == text


def test_of_several_readings_the_usual_one_is_taken() -> None:
    content = "웃는 얼굴".encode("cp949")
    assert decode_text(content, "cp949").text == "웃는 얼굴"
    assert decode_text(content, "gb18030").encoding == "gb18030"


def test_rare_characters_are_told_by_the_other_captions_of_the_source() -> None:
    """Alone they could be anything."""
    for text, encoding in (("薔薇, 鬱", "cp932"), ("ﾂｲﾝﾃｰﾙ", "cp932"), ("萝莉", "gb18030"), ("®", "cp1252")):
        with pytest.raises(UnreadableError):
            decode_text(text.encode(encoding))
    assert decode_text("薔薇, 鬱".encode("cp932"), "cp932").text == "薔薇, 鬱"
    assert decode_text("萝莉".encode("gb18030"), "gb18030").text == "萝莉"


def test_symbols_among_letters_are_read() -> None:
    texts = {"cp932": "青い髪★, ①女の子", "gb18030": "★少女", "cp1252": "© artist, ½ body, • item"}
    assert {encoding: decode_text(text.encode(encoding)).text for encoding, text in texts.items()} == texts
