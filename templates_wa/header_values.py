"""Check the value of a header against its format."""

from __future__ import annotations

from collections.abc import Iterator

from templates_wa.definitions import Header, HeaderFormat
from templates_wa.parameters import HeaderValue, LocationValue, MediaValue, ProductValue
from templates_wa.problems import Place, Problem, ProblemCode, check_text

HEADER_LIMIT = 60
LINK_LIMIT = 2000
MEDIA = frozenset({HeaderFormat.IMAGE, HeaderFormat.VIDEO, HeaderFormat.DOCUMENT, HeaderFormat.GIF})
_KINDS = ("text", "media", "location", "product")


def check_header(
    place: Place, header: Header | None, value: HeaderValue | None
) -> Iterator[Problem]:
    """Yield what is wrong with the value of a header."""
    wanted = _wanted(header)
    kinds = [] if value is None else [k for k in _KINDS if getattr(value, k) is not None]
    if not wanted:
        if value is not None:
            yield place.problem(ProblemCode.UNEXPECTED, f"a value was given, {_none(header)}")
    elif value is None or not kinds:
        yield place.problem(
            ProblemCode.MISSING, f"no value was given, {_article(wanted)} is expected"
        )
    elif len(kinds) > 1:
        yield place.problem(
            ProblemCode.WRONG_FORMAT,
            f"{' and '.join(kinds)} were given, only {_article(wanted)} is expected",
        )
    elif kinds[0] != ("media" if wanted.upper() in MEDIA else wanted):
        yield _mismatch(place, kinds[0], wanted)
    else:
        yield from _check(place.item("", kinds[0]), header, value, wanted)


def _check(
    place: Place, header: Header | None, value: HeaderValue, wanted: str
) -> Iterator[Problem]:
    if value.text is not None and header is not None and header.text is not None:
        yield from _check_text(place, header, value.text)
    if value.media is not None:
        yield from _check_media(place, value.media, wanted)
    if value.location is not None:
        yield from _check_location(place, value.location)
    if value.product is not None:
        yield from _check_product(place, value.product)


def _wanted(header: Header | None) -> str:
    """Return the kind of value a header needs, in small letters; empty: none."""
    if header is None or header.format not in set(HeaderFormat):
        return ""
    if header.format == HeaderFormat.TEXT and not (header.text and header.text.variables):
        return ""
    return header.format.lower()


def _none(header: Header | None) -> str:
    if header is None:
        return "the template has no header"
    if header.format == HeaderFormat.TEXT:
        return "the header's text has no variable"
    return f"a header of the format {header.format} takes none here"


def _article(kind: str) -> str:
    return f"{'an' if kind[:1] in 'aeiou' else 'a'} {kind}"


def _mismatch(place: Place, kind: str, wanted: str) -> Problem:
    what = "a file" if kind == "media" else _article(kind)
    return place.problem(
        ProblemCode.WRONG_FORMAT, f"{what} was given, {_article(wanted)} is expected"
    )


def _check_text(place: Place, header: Header, text: str) -> Iterator[Problem]:
    yield from check_text(place, text, "the parameter")
    if header.text is None:
        return
    length = len(header.text.filled(dict.fromkeys(header.text.variables, text)))
    if length > HEADER_LIMIT:
        yield place.problem(
            ProblemCode.TOO_LONG,
            f"the text has {length} characters with its parameter, {HEADER_LIMIT} are allowed",
        )


def _check_media(place: Place, media: MediaValue, wanted: str) -> Iterator[Problem]:
    if media.kind is not None and media.kind.lower() != wanted:
        yield _mismatch(place, _known_kind(media.kind), wanted)
    if bool(media.id) == bool(media.link):
        both = "an id and a link were" if media.id else "neither an id nor a link was"
        yield place.problem(ProblemCode.WRONG_COUNT, f"{both} given, one of the two is expected")
    if media.link:
        yield from _check_link(place, media.link)
    if media.filename is not None and wanted != "document":
        yield place.problem(
            ProblemCode.UNEXPECTED, f"a filename was given, {_article(wanted)} has none"
        )


def _known_kind(kind: str) -> str:
    return kind.lower() if kind.upper() in MEDIA else "file of another kind"


def _check_link(place: Place, link: str) -> Iterator[Problem]:
    yield from check_text(place, link, "the link", LINK_LIMIT)
    if not link.startswith(("https://", "http://")):
        yield place.problem(ProblemCode.WRONG_FORMAT, "the link is not an http(s) address")


def _check_location(place: Place, location: LocationValue) -> Iterator[Problem]:
    for name, value, most in (
        ("latitude", location.latitude, 90),
        ("longitude", location.longitude, 180),
    ):
        if not -most <= value <= most:
            yield place.problem(
                ProblemCode.OUT_OF_RANGE, f"the {name} is not between -{most} and {most} degrees"
            )
    for name, text in (("name", location.name), ("address", location.address)):
        if text is not None:
            yield from check_text(place, text, f"the {name}")


def _check_product(place: Place, product: ProductValue) -> Iterator[Problem]:
    yield from check_text(place, product.product_retailer_id, "the product_retailer_id")
    yield from check_text(place, product.catalog_id, "the catalog_id")
