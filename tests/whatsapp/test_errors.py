"""What each of Meta's error codes makes us do."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.whatsapp.wire.errors import (
    LONGEST_WAIT,
    RULES,
    GraphAnswer,
    error_of,
    media_error_of,
)
from workspaces.channel_errors import (
    ChannelError,
    MediaGone,
    OutcomeUnknown,
    Reach,
    Rejected,
    Throttled,
    Unavailable,
    WrongAppSecret,
)

# Meta's table, https://developers.facebook.com/docs/whatsapp/cloud-api/support/error-codes
STOPS = {
    Reach.TENANT: [0, 3, 10, 104, 190, 200, 210, 299],
    Reach.ACCOUNT: [368, 131031, 131042, 131064],
    Reach.NUMBER: [
        33,
        803,
        131005,
        131037,
        131045,
        131048,
        133010,
        133000,
        133005,
        133006,
        133008,
        133009,
        133015,
        133016,
    ],
    Reach.TEMPLATE: [131063, 132015, 132016, 132068],
}
REFUSES = {
    Reach.MESSAGE: [
        100,
        131008,
        131009,
        131051,
        131052,
        131053,
        131062,
        135000,
        139101,
        999999,
    ],
    Reach.RECIPIENT: [
        130403,
        130472,
        130497,
        131020,
        131021,
        131026,
        131030,
        131041,
        131047,
        131049,
        131050,
        131207,
        137000,
    ],
    Reach.TEMPLATE: [
        131055,
        131061,
        132000,
        132001,
        132005,
        132007,
        132008,
        132012,
        132018,
        132069,
        134100,
        134102,
    ],
    Reach.ACCOUNT: [134011],
}
SLOWS = {
    Reach.ACCOUNT: [4, 17, 32, 613, 80007],
    Reach.NUMBER: [130429, 131057],
    Reach.RECIPIENT: [131056, 131208],
    Reach.TEMPLATE: [134101],
}
AGAIN = {
    1: 3,
    2: None,
    131000: 3,
    131016: None,
    133004: None,
    139100: None,
    139102: None,
    139103: None,
}
KEYS = ["error", "code", "error_subcode", "error_data", "details", "message", "fbtrace_id"]
DETAILS = "body: number of localizable_params (1) does not match the expected number of params (3)"


def rows(table: dict[Reach, list[int]]) -> list[tuple[int, Reach]]:
    return [(code, reach) for reach, codes in table.items() for code in codes]


def answer(
    status: int = 400, headers: dict[str, str] | None = None, **error: object
) -> GraphAnswer:
    return GraphAnswer(status, headers or {}, json.dumps({"error": error}).encode())


def error_from(*, status: int = 400, headers: dict[str, str] | None = None, **error: object):
    return error_of(answer(status, headers, **error), changes=True)


@pytest.mark.parametrize(("code", "reach"), rows(STOPS))
@pytest.mark.parametrize("status", [200, 400, 500])
def test_it_stops_everything_that_would_be_refused_too(
    code: int, reach: Reach, status: int
) -> None:
    error = error_from(code=code, status=status)

    assert isinstance(error, Rejected)
    assert (error.code, error.reach, error.stops) == (code, reach, True)


@pytest.mark.parametrize(
    "words",
    [
        "Invalid appsecret_proof provided in the API argument",
        "API calls from the server require an appsecret_proof argument",
        "(#100) Invalid appsecret_proof provided in the API argument",
    ],
)
def test_it_takes_a_wrong_proof_for_the_tenants_mistake_and_not_the_messages(words: str) -> None:
    error = error_from(code=100, message=words)

    assert isinstance(error, WrongAppSecret)
    assert (error.code, error.reach, error.stops) == (100, Reach.TENANT, True)


@pytest.mark.parametrize(("code", "reach"), rows(REFUSES))
def test_it_refuses_one_message(code: int, reach: Reach) -> None:
    error = error_from(code=code)

    assert isinstance(error, Rejected)
    assert (error.code, error.reach, error.stops) == (code, reach, False)
    assert str(code) in str(error)


@pytest.mark.parametrize(("code", "reach"), rows(SLOWS))
def test_it_slows_down(code: int, reach: Reach) -> None:
    error = error_from(code=code)

    assert isinstance(error, Throttled)
    assert (error.code, error.reach) == (code, reach)


@pytest.mark.parametrize(("code", "most_attempts"), AGAIN.items())
def test_it_tries_again(code: int, most_attempts: int | None) -> None:
    error = error_from(code=code, status=400 if code == 1 else 500)

    assert isinstance(error, Unavailable)
    assert (error.code, error.most_attempts) == (code, most_attempts)


def test_it_does_not_know_what_a_server_did_that_had_an_unknown_error() -> None:
    assert isinstance(error_from(code=1, status=500), OutcomeUnknown)
    assert isinstance(error_of(answer(500, code=1), changes=False), Unavailable)


def test_it_knows_every_code_of_the_table() -> None:
    listed = [code for table in (STOPS, REFUSES, SLOWS) for code, _ in rows(table)]

    assert set(RULES) <= {*listed, *AGAIN}


def test_it_takes_a_missing_object_for_a_wrong_number() -> None:
    error = error_from(code=100, error_subcode=33)

    assert isinstance(error, Rejected)
    assert (error.reach, error.stops) == (Reach.NUMBER, True)


def test_it_believes_meta_that_an_unknown_error_passes() -> None:
    error = error_from(code=999999, is_transient=True)

    assert isinstance(error, Unavailable)
    assert error.most_attempts == 2


@pytest.mark.parametrize(
    ("status", "changes", "expected"),
    [
        (500, False, Unavailable),
        (499, False, Rejected),
        # A send is not repeated for an error of which nobody says that it passes.
        (500, True, Rejected),
    ],
)
def test_it_asks_again_after_an_unknown_code_of_a_broken_server_only(
    status: int, changes: bool, expected: type[ChannelError]
) -> None:
    error = error_of(answer(status, code=999999), changes=changes)

    assert type(error) is expected
    assert error.code == 999999


def test_it_slows_the_number_down_for_an_unknown_code_with_429() -> None:
    assert isinstance(error_from(code=999999, status=429), Throttled)


@pytest.mark.parametrize(
    ("status", "changes", "expected"),
    [
        (500, True, OutcomeUnknown),
        (500, False, Unavailable),
        (503, True, OutcomeUnknown),
        (408, True, OutcomeUnknown),
        (302, True, Unavailable),
        (399, True, Unavailable),
        (400, True, Rejected),
        (403, True, Rejected),
        (429, True, Throttled),
        (200, True, OutcomeUnknown),
        (200, False, Unavailable),
    ],
)
def test_it_judges_an_answer_that_is_not_metas_by_its_status(status, changes, expected) -> None:
    assert type(error_of(GraphAnswer(status, {}, b"<html>"), changes=changes)) is expected


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7),
        ({"retry-after": "Wed, 21 Oct 2026 07:28:00 GMT"}, None),
        ({"retry-after": "٧"}, None),
        ({"retry-after": "999999999"}, LONGEST_WAIT),
        ({"retry-after": "9999999999"}, None),
        ({"retry-after": ""}, None),
        (
            {
                "x-business-use-case-usage": json.dumps(
                    {
                        "9": [
                            {"type": "whatsapp", "estimated_time_to_regain_access": 3},
                            {"type": "whatsapp", "estimated_time_to_regain_access": 19},
                        ]
                    }
                ),
                "retry-after": "7",
            },
            19 * 60,
        ),
        ({"x-business-use-case-usage": '{"9":[{"call_count":100}]}'}, None),
        ({"x-business-use-case-usage": "[1"}, None),
        ({"x-business-use-case-usage": '{"9":[{"estimated_time_to_regain_access":-5}]}'}, None),
    ],
)
def test_it_waits_as_long_as_the_headers_say(headers, seconds) -> None:
    error = error_from(code=80007, headers=headers)

    assert isinstance(error, Throttled)
    assert error.retry_after == seconds


def test_it_lets_the_pause_of_one_person_grow() -> None:
    error = error_from(code=131056, headers={"retry-after": "7"})

    assert isinstance(error, Throttled)
    assert error.retry_after is None


def test_it_keeps_what_metas_support_asks_for() -> None:
    error = error_from(code=132000, error_data={"details": DETAILS}, fbtrace_id="AbC_1-x")

    assert (error.details, error.trace_id) == (DETAILS, "AbC_1-x")


@pytest.mark.parametrize(
    "secret",
    [
        "+27 82 000 0001",
        "27820000001",
        "EAAGm0PX4ZCpsBAOZ",
        "wamid.HBgLMTY1MDU1NTEyMzQVAgARGBI=",
        "0a1b2c3d4e5f60718293a4b5c6d7e8f9",
        "US.13491208655302741918",
    ],
)
@pytest.mark.parametrize("place", ["message", "details"])
def test_it_passes_no_number_and_no_token_on(secret: str, place: str) -> None:
    words = f"Malformed access token or recipient {secret} (x)"
    found = {"message": words} if place == "message" else {"error_data": {"details": words}}

    error = error_from(code=190, fbtrace_id=f"{secret} x", **found)

    assert secret not in f"{error!r} {error.details} {error.trace_id}"
    assert error.details.startswith("Malformed access token or recipient")


@given(
    status=st.integers(200, 599),
    body=st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=20),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(KEYS),
                inner,
                max_size=5,
            )
        ),
    ),
)
def test_it_judges_whatever_comes(status: int, body: object) -> None:
    content = GraphAnswer(status, {}, json.dumps(body).encode())

    assert isinstance(error_of(content, changes=True), ChannelError)
    assert isinstance(media_error_of(content), ChannelError)


def test_it_says_that_a_file_is_gone_with_its_code() -> None:
    gone = media_error_of(answer(400, code=100, error_subcode=33))

    assert isinstance(gone, MediaGone)
    assert gone.code == 100


@pytest.mark.parametrize(
    ("status", "body", "code"),
    [(404, {}, 404), (410, {}, 410), (404, {"code": 131052}, 131052)],
)
def test_it_takes_a_file_for_gone_that_is_not_found(
    status: int, body: dict[str, int], code: int
) -> None:
    gone = media_error_of(answer(status, **body))

    assert isinstance(gone, MediaGone)
    assert gone.code == code


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (403, {}, Rejected),
        (400, {"code": 100}, Rejected),
        (401, {"code": 190}, Rejected),
        # Meta is busy: whatever the status says, the file may be there.
        (404, {"code": 80007}, Throttled),
        (404, {"code": 131016}, Unavailable),
    ],
)
def test_it_does_not_give_a_file_up_for_another_reason(
    status: int, body: dict[str, int], expected: type[ChannelError]
) -> None:
    assert type(media_error_of(answer(status, **body))) is expected
