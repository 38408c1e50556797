"""Words of texts in any language, and queries: what is found is what a plain matcher finds."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lib import words

# Letters of several scripts, marks, and what stands between words.
ALPHABET = (
    "aAbBéE\u0301ßİşñ1２ _-.,'\"*\n的手机的ไทก\u0e31ลけが\u3099ｶﾞ한글אבּعَرкйक\u093c\u093f\u200d😀"
)
UNSPACED = ("THAI", "CJK UNIFIED", "HIRAGANA", "KATAKANA")
TEXTS = st.text(ALPHABET, max_size=30)


def plain(text: str) -> str:
    """Fold a text in the most direct way."""
    shown = unicodedata.normalize("NFKD", text)
    kept = (c for c in shown if not "\u0300" <= c <= "\u036f" and c not in "\u05bc\u064e\u200d")
    return unicodedata.normalize("NFC", "".join(kept).casefold())


def units(text: str) -> list[tuple[str, bool]]:
    """Return words, and characters of scripts without spaces; each with whether it hangs on the
    one before it.
    """
    found: list[tuple[str, bool]] = []
    word, is_glued = "", False

    def end() -> None:
        nonlocal word, is_glued
        if word and is_unspaced(word[0]):
            found.extend((c, at > 0) for at, c in enumerate(plain(word)))
        elif plain(word):
            found.append((plain(word), False))
        word = ""

    for char in text:
        is_mark = unicodedata.category(char)[0] == "M" or char == "\u200d"
        if not (char.isalnum() or (is_mark and word)):
            end()
            continue
        is_same = not word or is_unspaced(char) == is_unspaced(word[0])
        if not is_same and not (is_mark and is_unspaced(char)):
            end()
        word += char
    end()
    return found


def is_unspaced(char: str) -> bool:
    return any(name in unicodedata.name(char, "") for name in UNSPACED)


def naive(term: str, text: str) -> bool:
    """Tell whether a term's units stand somewhere in a text, one after the other."""
    wanted, there = units(term), units(text)
    return any(
        all(
            there[first + at][0] == unit and (not is_glued or there[first + at][1])
            for at, (unit, is_glued) in enumerate(wanted)
        )
        for first in range(len(there) - len(wanted) + 1)
    )


@given(TEXTS, st.lists(st.tuples(st.text(ALPHABET.replace('"', ""), max_size=4), st.booleans())))
def test_it_finds_exactly_what_a_plain_matcher_finds(text: str, said: list) -> None:
    terms = [(term.rstrip("*"), out) for term, out in said if units(term)][:5]
    asked = " ".join(f'{"-" * out}"{term}"' for term, out in terms)
    if all(out for _, out in terms):
        with pytest.raises(words.BadQuery):
            words.parse(asked)
        return
    query = words.parse(asked)
    found = all(naive(term, text) != out for term, out in terms)
    assert query.matches(text) == found
    if found:
        spans = query.find(text)
        assert spans
        assert all(0 <= span.start < span.end <= len(text) for span in spans)
        assert any(part.is_match for part in words.snippet(text, spans))


def test_a_text_whose_letters_fold_to_many_fits_what_the_database_takes() -> None:
    letters = [chr(code) for code in range(0x1200, 0x1300) if chr(code).isalnum()][:100]
    text = "".join(f"{one}{other}\ufdfa\ufdfa\ufdfa " for one in letters for other in letters)

    assert 800_000 < len(words.as_tsvector(words.words_of(text), "abcd").encode()) < 2**20


@example("\u0915\u093c\u3099")
@example("\uff76\u064e\u3099")
@given(TEXTS)
def test_any_text_is_found_by_itself_and_its_snippet_is_of_it(text: str) -> None:
    said = text.replace('"', " ").rstrip("* \n")
    if not units(said):
        return
    query = words.parse(f'"{said}"')
    assert query.matches(text)
    shown = "".join(part.text for part in words.snippet(text, query.find(text)))
    assert shown.strip("…") in text
    assert words.words_of(text) == [token.word for token in words.tokens(text)]


@pytest.mark.parametrize(
    ("asked", "text", "is_found"),
    [
        ("CAFE", "Un café, s'il vous plaît", True),
        ("cafés", "Un café", False),
        ("caf*", "Un café", True),
        ('"un ca*"', "Un café", True),
        ("strasse", "Größe der Straße", True),
        ("don't", "I don't know", True),
        ("don't", "do not t", False),
        ("48213", "order #48213", True),
        ("4821", "order #48213", False),
        ("482*", "order #48213", True),
        ("+27711558396", "call 27711558396", True),
        ("27711558396", "call +27 71 155 8396", False),
        ("order -cancelled", "order sent", True),
        ("order -cancelled", "order cancelled", False),
        ('order -"cancelled again"', "order cancelled", True),
        ("order - cancelled", "order cancelled", True),
        ("“my order”", "my order", True),
        ('"my order', "my order", True),
        ("order_123", "ORDER_123.pdf", True),
        ("手机", "我的手机坏了", True),
        ("机", "我的手机", True),
        ("我机", "我的手机", False),
        ("ホテル", "ﾎﾃﾙを予約", True),
        ("โรงแรม", "จองโรงแรมให้หน่อย", True),
        ("iPhone手机", "我的iPhone手机", True),
        ("학교", "학교에서", False),
        ("학교*", "학교에서", True),
        ("हिन्दी", "मुझे हिन्दी आती है", True),
        ("محمد", "مُحَمَّد هنا", True),
        ("ёлка", "Елка", True),
    ],
)
def test_people_find_what_they_mean(asked: str, text: str, is_found: bool) -> None:
    assert words.parse(asked).matches(text) is is_found


@pytest.mark.parametrize(
    "asked",
    [
        "",
        "   ",
        "!?…",
        "-word",
        '""',
        "*",
        "a*",
        "a\0b",
        "x" * 257,
        "a b " * 5000,
        "ab " * 17,
        "的" * 70,
    ],
)
def test_it_refuses_what_is_no_query(asked: str) -> None:
    with pytest.raises(words.BadQuery):
        words.parse(asked)


def test_a_snippet_is_short_and_says_what_matches() -> None:
    text = "before " * 30 + "my order is here " + "after " * 50
    parts = words.snippet(text, words.parse('"my order" here').find(text))

    assert [part.text for part in parts if part.is_match] == ["my order", "here"]
    assert parts[0].text == parts[-1].text[-1] == "…"
    assert len("".join(part.text for part in parts)) <= words.SNIPPET + 2


def test_only_the_beginning_of_an_endless_text_counts() -> None:
    text = "a " * words.MOST_WORDS + "end"

    assert words.parse("a").matches(text)
    assert not words.parse("end").matches(text)
    assert len(words.as_tsvector(words.words_of("é" * 10**6), "pppp")) < 100
