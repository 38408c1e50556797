"""Words of texts in any language, and queries for them.

A word is a run of letters, digits and marks, compared without case, accents and forms of width
(NFKD). Scripts that are written without spaces have no words to tell apart: of a run of them every
two neighbours count as one, and the last character alone, so that any part of a run is found. Words
stand at positions; a query's term is words at neighbouring ones. The index in PostgreSQL holds the
same words at the same positions (:func:`as_tsvector`, :meth:`WordQuery.as_tsquery`).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

# So much of a text counts, and of a word so many characters.
MOST_CHARACTERS, MOST_WORDS, LONGEST_WORD = 65_536, 10_000, 60
# PostgreSQL takes a tsvector of 1 MiB at most (its manual, "Text Search": Limitations).
MOST_BYTES = 900_000
LONGEST_QUERY, MOST_TERMS, MOST_PIECES = 256, 16, 64
SHORTEST_PREFIX = 2
# Characters of a snippet: all of it, and what goes before its first match.
SNIPPET, BEFORE = 160, 40

# Marks (vowels of many scripts), joiners and variation selectors belong to the letter before them.
_MARKS = "".join(chr(c) for c in range(0x300, 0xFE30) if unicodedata.category(chr(c))[0] == "M")
_MARK = re.compile(f"[{_MARKS}]")
_WORD = re.compile(rf"[^\W_](?:[^\W_]|[{_MARKS}\u200c\u200d])*")
_ASCII_WORD = re.compile("[a-z0-9]+")
# Thai, Lao, Burmese, Khmer, Japanese and Chinese.
_UNSPACED = (
    r"\u0e01-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3041-\u30ff\u31f0-\u31ff\u3400-\u4dbf"
    r"\u4e00-\u9fff\uaa60-\uaa7f\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003ffff"
)
_RUN = re.compile(rf"[{_UNSPACED}]+|[^{_UNSPACED}]+")
_IS_UNSPACED = re.compile(rf"[{_UNSPACED}]")
# Accents, points of Hebrew and Arabic, the Arabic filler, joiners, variation selectors.
_IGNORED = re.compile(
    r"[\u0300-\u036f\u0591-\u05c7\u0610-\u061a\u0640\u064b-\u065f\u0670\u200c\u200d\ufe00-\ufe0f]"
)
_TERM = re.compile(r'(?P<minus>-*)(?:"(?P<phrase>[^"]*)"?|(?P<word>[^\s"]+))(?P<star>\*?)')
_QUOTES = str.maketrans("“”„‟", '""""')


class BadQuery(ValueError):
    """This is nothing to search for; the message says why, and what to do."""


class Word(NamedTuple):
    """A word as it is compared, and the part of the text that it stands for. ``is_part``: it is one
    of a script without spaces; ``is_end``: the last one of a run of these.
    """

    word: str
    start: int
    end: int
    is_part: bool = False
    is_end: bool = False


class Span(NamedTuple):
    """A part of a text, in characters."""

    start: int
    end: int


class SnippetPiece(NamedTuple):
    """A piece of a snippet."""

    text: str
    is_match: bool


def fold(text: str) -> str:
    """Return a text without case, accents and forms of width."""
    if text.isascii():
        return text.lower()
    plain = _IGNORED.sub("", unicodedata.normalize("NFKD", text))
    return unicodedata.normalize("NFC", plain.casefold())


def _bare(text: str) -> str:
    """Return a text as it is compared, without marks: in a whole text they may come in another
    order than in one word, and be one character with another letter.
    """
    folded = fold(text)
    return folded if folded.isascii() else _MARK.sub("", unicodedata.normalize("NFD", folded))


def words_of(text: str) -> list[str]:
    """Return the words of a text in their order; the place in the list is their position."""
    text = text[:MOST_CHARACTERS]
    if text.isascii():  # a fifth of the time
        return [word[:LONGEST_WORD] for word in _ASCII_WORD.findall(text.lower())[:MOST_WORDS]]
    return [token.word for token in tokens(text)]


def tokens(text: str) -> list[Word]:
    """Return the words of a text with where they stand."""
    found: list[Word] = []
    for match in _WORD.finditer(text[:MOST_CHARACTERS]):
        if len(found) >= MOST_WORDS:
            break
        start, end = match.span()
        word = match[0]
        if word.isascii():
            found.append(Word(word.lower()[:LONGEST_WORD], start, end))
        else:
            found += _tokens_of_runs(word, start)
    return found[:MOST_WORDS]


def _tokens_of_runs(word: str, start: int) -> Iterator[Word]:
    for run in _RUN.finditer(word):
        first, last = start + run.start(), start + run.end()
        folded = fold(run[0])
        if not folded:
            continue
        if not _IS_UNSPACED.match(run[0]):
            yield Word(folded[:LONGEST_WORD], first, last)
            continue
        # What folding made shorter or longer is shown as a whole.
        is_even = len(folded) == len(run[0])
        for at in range(len(folded)):
            is_end = at == len(folded) - 1
            place = (first + at, min(first + at + 2, last)) if is_even else (first, last)
            yield Word(folded[at : at + 2], *place, is_part=True, is_end=is_end)


def as_tsvector(words: Sequence[str], prefix: str) -> str:
    """Return words as a ``tsvector`` is written, each behind ``prefix``. PostgreSQL keeps 255
    positions of a word. What is beyond `MOST_BYTES` is left out: few letters may fold to many.
    """
    positions: dict[str, list[int]] = {}
    size = 0
    for number, word in enumerate(words, 1):
        size += 2 if word in positions else len((prefix + word).encode()) + 6
        if size > MOST_BYTES:
            break
        positions.setdefault(word, []).append(number)
    return " ".join(
        f"{_quoted(prefix + word)}:{','.join(map(str, at[:255]))}" for word, at in positions.items()
    )


def _quoted(lexeme: str) -> str:
    if lexeme.isalnum():
        return f"'{lexeme}'"
    return "'" + lexeme.replace("\\", "\\\\").replace("'", "''") + "'"


class Piece(NamedTuple):
    """One word of a term, so many positions after the one before."""

    word: str
    gap: int
    is_prefix: bool


@dataclass(frozen=True, slots=True)
class Term:
    """Words at neighbouring positions that have to be there, or must not."""

    pieces: tuple[Piece, ...]
    is_excluded: bool

    def find(self, words: Sequence[str]) -> Iterator[tuple[int, int]]:
        """Yield the positions of its first and last word, wherever it stands."""
        for first in range(len(words)):
            at = first
            for piece in self.pieces:
                at += piece.gap
                if at >= len(words) or not _is(words[at], piece):
                    break
            else:
                yield first, at

    def as_tsquery(self, prefix: str) -> str:
        """Return it as a ``tsquery`` is written."""
        parts = []
        for number, piece in enumerate(self.pieces):
            if number:
                parts.append(f"<{piece.gap}>")
            parts.append(_quoted(prefix + piece.word) + (":*" if piece.is_prefix else ""))
        return f"{'!' if self.is_excluded else ''}({' '.join(parts)})"


def _is(word: str, piece: Piece) -> bool:
    return word.startswith(piece.word) if piece.is_prefix else word == piece.word


@dataclass(frozen=True)
class WordQuery:
    """What somebody searches for."""

    terms: tuple[Term, ...]

    def matches(self, text: str) -> bool:
        """Tell whether a text has what was searched for."""
        bare = _bare(text)
        if not all(word in bare for word in self._needed):
            return False
        words = words_of(text)
        return all(any(term.find(words)) != term.is_excluded for term in self.terms)

    def find(self, text: str) -> list[Span]:
        """Return where a text that matches has what was searched for, in order."""
        found = tokens(text)
        words = [token.word for token in found]
        places = {at for term in self.terms if not term.is_excluded for at in term.find(words)}
        return sorted(Span(found[first].start, found[last].end) for first, last in places)

    def as_tsquery(self, prefix: str) -> str:
        """Return it as a ``tsquery`` is written, every word behind ``prefix``."""
        return " & ".join(term.as_tsquery(prefix) for term in self.terms)

    @cached_property
    def _needed(self) -> list[str]:
        return [_bare(p.word) for t in self.terms if not t.is_excluded for p in t.pieces]


def parse(text: str) -> WordQuery:
    """Return the query that somebody typed: words, "words in this order", -without, beginning*.

    Raises:
        BadQuery: it is too long, has nothing to look for, or cannot be in a text.
    """
    if len(text) > LONGEST_QUERY:
        raise BadQuery(f"may have {LONGEST_QUERY} characters at most.")
    if "\0" in text:
        raise BadQuery("must not contain NUL.")
    matches = _TERM.finditer(text.translate(_QUOTES))
    terms = [term for match in matches if (term := _term(match)) is not None]
    if len(terms) > MOST_TERMS or sum(len(term.pieces) for term in terms) > MOST_PIECES:
        raise BadQuery(f"may have {MOST_TERMS} terms and {MOST_PIECES} words in all at most.")
    if all(term.is_excluded for term in terms):
        raise BadQuery("must have a word to look for: letters or digits, and not only -words.")
    return WordQuery(tuple(terms))


def _term(match: re.Match[str]) -> Term | None:
    said = match["word"] or match["phrase"] or ""
    found = tokens(said)
    pieces: list[Piece] = []
    before = 0
    for at, token in enumerate(found):
        # The two characters before it say the same.
        if token.is_end and at and found[at - 1].is_part and not found[at - 1].is_end:
            continue
        pieces.append(Piece(token.word, at - before if pieces else 0, token.is_end))
        before = at
    if not pieces:
        return None
    last = pieces[-1]
    if (match["star"] or said.endswith("*")) and not found[-1].is_part:
        if len(last.word) < SHORTEST_PREFIX:
            raise BadQuery(f"needs {SHORTEST_PREFIX} letters or digits before a *.")
        pieces[-1] = last._replace(is_prefix=True)
    return Term(tuple(pieces), bool(match["minus"]))


def snippet(text: str, spans: Sequence[Span]) -> list[SnippetPiece]:
    """Return the part of a text around its first match, cut into what matches and what does not.
    ``…`` stands for what is left out.
    """
    begin = max(0, spans[0].start - BEFORE)
    if begin:  # at a word
        space = text.find(" ", begin, spans[0].start)
        begin = space + 1 if space >= 0 else begin
    end = max(min(len(text), begin + SNIPPET), min(spans[0].end, begin + 2 * SNIPPET))
    parts = [SnippetPiece("…", False)] if begin else []
    at = begin
    for span in spans:
        start, stop = max(at, span.start), min(span.end, end)
        if start < stop:
            parts += [SnippetPiece(text[at:start], False)] if at < start else []
            if parts and parts[-1].is_match:
                parts[-1] = SnippetPiece(parts[-1].text + text[start:stop], True)
            else:
                parts.append(SnippetPiece(text[start:stop], True))
            at = stop
    tail = text[at:end] + ("…" if end < len(text) else "")
    return [*parts, SnippetPiece(tail, False)] if tail else parts
