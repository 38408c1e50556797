"""Meta's error answers, turned into the decision they force.

https://developers.facebook.com/docs/graph-api/guides/error-handling
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from connectors.whatsapp.wire.answers import Answer, integer, json_object, member, members, text
from connectors.whatsapp.wire.codes import NO_SUCH_OBJECT, PROOF, Rule, rule_of
from lib.masking import MASK, mask
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

MAX_DETAILS = 300
MAX_TRACE_ID = 64
# The longest wait a header may ask for; more than that is no answer to a rate limit.
LONGEST_WAIT = 86_400.0
# Meta repeats malformed tokens in its messages; they and proofs are long words with digits.
_TOKEN_LIKE = re.compile(r"\bEAA[\w|.-]*|(?=[\w|.-]*\d)[\w|-]{20,}")
_TRACE_ID = re.compile(rf"[\w-]{{1,{MAX_TRACE_ID}}}")
TOO_MANY_REQUESTS, REQUEST_TIMEOUT = 429, 408

TRANSIENT = Rule(Unavailable, "Meta had an error that it says will pass.", most_attempts=2)
TOO_FAST = Rule(Throttled, reach=Reach.NUMBER)
UNKNOWN = Rule(Rejected, "Meta refused for a reason we do not know.")


class _Problem(NamedTuple):
    code: int
    subcode: int
    is_transient: bool
    details: str
    trace_id: str
    message: str


def error_of(answer: Answer, *, changes: bool) -> ChannelError:
    """Return the error of an answer that is not a success.

    ``changes`` tells that the request was to change something (a send): then an answer that says
    nothing about it leaves the outcome unknown.
    """
    problem = _problem_in(answer)
    if problem is None:
        return _wordless(answer, changes)
    rule = rule_of(problem.code, problem.subcode, problem.message)
    if rule is None:
        rule = _unlisted(answer, problem, changes)
    if changes and rule.is_vague and answer.status >= 500:
        return OutcomeUnknown(
            rule.sentence, code=problem.code, details=problem.details, trace_id=problem.trace_id
        )
    return _raised(rule, problem, answer)


def media_error_of(answer: Answer) -> ChannelError:
    """Return the error of an answer about a file: there "no such object" means that it is gone."""
    problem = _problem_in(answer)
    code, subcode = (problem.code, problem.subcode) if problem else (0, 0)
    error = error_of(answer, changes=False)
    gone = answer.status in (404, 410) or (code, subcode) == NO_SUCH_OBJECT
    if not gone or not isinstance(error, Rejected):
        return error
    return MediaGone(
        code or answer.status, "Meta no longer has this file, or may not show it to us.",
        details=error.details, trace_id=error.trace_id,
    )  # fmt: skip


def is_wrong_proof(answer: Answer) -> bool:
    """Return whether Meta refused the proof of the app secret, and so did nothing."""
    problem = None if answer.is_success else _problem_in(answer)
    return problem is not None and (
        rule_of(problem.code, problem.subcode, problem.message) is PROOF
    )


def has_error(answer: Answer) -> bool:
    """Return whether the body is an error of Meta's, whatever the status."""
    return _problem_in(answer) is not None


def clean(words: str) -> str:
    """Return a text of Meta's without phone numbers, message ids and tokens, cut to length."""
    return mask(_TOKEN_LIKE.sub(MASK, words))[:MAX_DETAILS]


def _problem_in(answer: Answer) -> _Problem | None:
    error = member(answer.json, "error")
    code = integer(error, "code")
    if code is None:
        return None
    details = text(member(error, "error_data"), "details") or text(error, "message")
    found = _TRACE_ID.fullmatch(text(error, "fbtrace_id"))
    return _Problem(
        code,
        integer(error, "error_subcode") or 0,
        error.get("is_transient") is True,
        clean(details),
        found[0] if found else "",
        text(error, "message"),
    )


def _unlisted(answer: Answer, problem: _Problem, changes: bool) -> Rule:
    if answer.status == TOO_MANY_REQUESTS:
        return TOO_FAST
    if problem.is_transient or (answer.status >= 500 and not changes):
        return TRANSIENT
    return UNKNOWN


def _raised(rule: Rule, problem: _Problem, answer: Answer) -> ChannelError:
    code, details, trace_id = problem.code, problem.details, problem.trace_id
    if rule.error is Throttled:
        return Throttled(
            _wait(rule, answer.headers), code=code, reach=rule.reach, details=details,
            trace_id=trace_id,
        )  # fmt: skip
    sentence = rule.reason(code)
    if rule.error is Unavailable:
        return Unavailable(
            sentence, code=code, most_attempts=rule.most_attempts, details=details,
            trace_id=trace_id,
        )  # fmt: skip
    refusal = WrongAppSecret if rule.error is WrongAppSecret else Rejected
    return refusal(
        code, sentence, reach=rule.reach, stops=rule.stops, details=details, trace_id=trace_id
    )


def _wordless(answer: Answer, changes: bool) -> ChannelError:
    """Judge an answer without an error of Meta's: of a proxy, a load balancer, a broken server."""
    status = answer.status
    if status == TOO_MANY_REQUESTS:
        return Throttled(_regain_seconds(answer.headers))
    if status >= 500 or status == REQUEST_TIMEOUT or answer.is_success:
        sentence = f"Meta's answer ({status}) says nothing about the request."
        return OutcomeUnknown(sentence) if changes else Unavailable(sentence)
    if status < 400:
        return Unavailable(f"Meta answered {status} and did nothing.")
    # Of a proxy on the way, or of whatever SIGMA_GRAPH_URL names: not this request's mistake.
    sentence = f"The request was refused with {status}, and not by Meta's API."
    return Rejected(0, sentence, reach=Reach.NUMBER, stops=True)


def _wait(rule: Rule, headers: Mapping[str, str]) -> float | None:
    if rule.reach == Reach.RECIPIENT:
        return None  # one person's pace: the pause grows (Meta: 4^X seconds), headers do not tell
    told = _regain_seconds(headers)
    return rule.wait if told is None else told


def _regain_seconds(headers: Mapping[str, str]) -> float | None:
    """Return how long to wait: the longest of the accounts' regain times, else ``Retry-After``.

    https://developers.facebook.com/docs/graph-api/overview/rate-limiting (headers)
    """
    usage = json_object(headers.get("x-business-use-case-usage", "").encode()) or {}
    minutes = [
        integer(use, "estimated_time_to_regain_access") or 0
        for account in usage
        for use in members(usage, account)
    ]
    longest = max(minutes, default=0)
    if longest > 0:
        return min(longest * 60.0, LONGEST_WAIT)
    seconds = headers.get("retry-after", "")
    asked = seconds.isascii() and seconds.isdecimal() and len(seconds) < 10
    return min(float(seconds), LONGEST_WAIT) if asked else None
