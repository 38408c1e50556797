"""Answers of the Graph API, and the decision that an error in one of them forces.

Meta's codes are a table at the end: what each forces, and a sentence for whoever has to act on it.

https://developers.facebook.com/docs/graph-api/guides/error-handling
https://developers.facebook.com/docs/whatsapp/cloud-api/support/error-codes
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import msgspec

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

Json = dict[str, object]
MAX_DETAILS = 300
MAX_TRACE_ID = 64
# The longest wait a header may ask for; more than that is no answer to a rate limit.
LONGEST_WAIT = 86_400.0
# Meta repeats malformed tokens in its messages; they and proofs are long words with digits.
_TOKEN_LIKE = re.compile(r"\bEAA[\w|.-]*|(?=[\w|.-]*\d)[\w|-]{20,}")
_TRACE_ID = re.compile(rf"[\w-]{{1,{MAX_TRACE_ID}}}")
TOO_MANY_REQUESTS, REQUEST_TIMEOUT = 429, 408
NO_SUCH_OBJECT = (100, 33)
BAD_TOKEN, INVALID_PARAMETER = 190, 100
ABOUT_PROOF = "appsecret_proof"
# Meta names a whole range for "permission not granted or removed".
PERMISSIONS = range(200, 300)


@dataclass(frozen=True)
class GraphAnswer:
    """Status, headers (looked up in lower case) and the body as it came."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def is_success(self) -> bool:
        """Whether the status is 2xx."""
        return 200 <= self.status < 300

    @cached_property
    def json(self) -> Json | None:
        """The body, if it is a JSON object."""
        return json_object(self.body)

    @cached_property
    def problem(self) -> _Problem | None:
        """Meta's error in the body, whatever the status."""
        error = member(self.json, "error")
        return _problem_of(error, text(error, "fbtrace_id"))


class _Problem(NamedTuple):
    code: int
    subcode: int
    is_transient: bool
    details: str
    trace_id: str
    message: str


def _problem_of(error: Json, trace_id: str) -> _Problem | None:
    code = integer(error, "code")
    if code is None:
        return None
    details = text(member(error, "error_data"), "details") or text(error, "message")
    found = _TRACE_ID.fullmatch(trace_id)
    return _Problem(
        code,
        integer(error, "error_subcode") or 0,
        error.get("is_transient") is True,
        clean(details),
        found[0] if found else "",
        text(error, "message"),
    )


def json_object(body: bytes) -> Json | None:
    """Return the JSON object that ``body`` is, or ``None``."""
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def member(value: object, key: str) -> Json:
    """Return the object under ``key``; whatever is none counts as an empty one."""
    found = value.get(key) if isinstance(value, dict) else None
    return found if isinstance(found, dict) else {}


def members(value: object, key: str) -> list[Json]:
    """Return the objects in the list under ``key``, without whatever else is in it."""
    found = value.get(key) if isinstance(value, dict) else None
    return [item for item in found if isinstance(item, dict)] if isinstance(found, list) else []


def text(value: object, key: str) -> str:
    """Return the text under ``key``; an id that came as a number counts as text."""
    found = value.get(key) if isinstance(value, dict) else None
    if isinstance(found, bool):
        return ""
    return str(found) if isinstance(found, str | int) else ""


def integer(value: object, key: str) -> int | None:
    """Return the whole number under ``key``."""
    found = value.get(key) if isinstance(value, dict) else None
    return found if isinstance(found, int) and not isinstance(found, bool) else None


def error_of(answer: GraphAnswer, *, changes: bool) -> ChannelError:
    """Return the error of an answer that is not a success.

    ``changes``: the request was to change something (a send), so that an answer that says
    nothing about it leaves the outcome unknown.
    """
    problem = answer.problem
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


def _unlisted(answer: GraphAnswer, problem: _Problem, changes: bool) -> Rule:
    if answer.status == TOO_MANY_REQUESTS:
        return TOO_FAST
    if problem.is_transient or (answer.status >= 500 and not changes):
        return TRANSIENT
    return UNKNOWN


def _raised(rule: Rule, problem: _Problem, answer: GraphAnswer) -> ChannelError:
    code, details, trace_id = problem.code, problem.details, problem.trace_id
    if rule.error is Throttled:
        wait = _wait(rule, answer.headers)
        return Throttled(wait, code=code, reach=rule.reach, details=details, trace_id=trace_id)
    sentence, most = rule.reason(code), rule.most_attempts
    if rule.error is Unavailable:
        return Unavailable(
            sentence, code=code, most_attempts=most, details=details, trace_id=trace_id
        )
    refusal = WrongAppSecret if rule.error is WrongAppSecret else Rejected
    return refusal(
        code, sentence, reach=rule.reach, stops=rule.stops, details=details, trace_id=trace_id
    )


def _wait(rule: Rule, headers: Mapping[str, str]) -> float | None:
    if rule.reach == Reach.RECIPIENT:
        return None  # one person's pace: the pause grows (Meta: 4^X seconds), headers say nothing
    asked = _regain_seconds(headers)
    return rule.wait if asked is None else asked


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


def _wordless(answer: GraphAnswer, changes: bool) -> ChannelError:
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


def block_errors_of(answer: GraphAnswer, *, done: str) -> dict[str, ChannelError | None] | None:
    """Return by Meta's ``input`` what became of people who were to be blocked or unblocked.

    Whatever the status is: 200 may name some who are not, 400 some who are. ``done`` is the list of
    those who are. ``None``: the answer names nobody.

    https://developers.facebook.com/documentation/business-messaging/whatsapp/block-users
    """
    users = member(answer.json, "block_users")
    found: dict[str, ChannelError | None] = {
        text(one, "input"): None for one in members(users, done)
    }
    for one in members(users, "failed_users"):
        error = next(iter(members(one, "errors")), {})
        problem = _problem_of(error, "") or _Problem(0, 0, False, "", "", "")
        rule = BLOCK_RULES.get(problem.code) or rule_of(problem.code) or UNKNOWN
        found[text(one, "input")] = _raised(rule, problem, answer)
    return found or None


def media_error_of(answer: GraphAnswer) -> ChannelError:
    """Return the error of an answer about a file: there "no such object" means that it is gone."""
    problem = answer.problem
    code, subcode = (problem.code, problem.subcode) if problem else (0, 0)
    error = error_of(answer, changes=False)
    gone = answer.status in (404, 410) or (code, subcode) == NO_SUCH_OBJECT
    if not gone or not isinstance(error, Rejected):
        return error
    return MediaGone(
        code or answer.status,
        "Meta no longer has this file, or may not show it to us.",
        details=error.details,
        trace_id=error.trace_id,
    )


def is_wrong_proof(answer: GraphAnswer) -> bool:
    """Return whether Meta refused the proof of the app secret, and so did nothing."""
    problem = None if answer.is_success else answer.problem
    return problem is not None and (
        rule_of(problem.code, problem.subcode, problem.message) is PROOF
    )


def clean(words: str) -> str:
    """Return a text of Meta's without phone numbers, message ids and tokens, cut to length."""
    return mask(_TOKEN_LIKE.sub(MASK, words))[:MAX_DETAILS]


class Rule(NamedTuple):
    """The decision a code forces; ``wait`` is in seconds, ``None`` where the headers state it.

    ``is_vague``: with a status of 5xx nobody knows whether anything was done.
    """

    error: type[ChannelError]
    sentence: str = ""
    reach: Reach = Reach.MESSAGE
    stops: bool = False
    most_attempts: int | None = None
    wait: float | None = None
    is_vague: bool = False

    def reason(self, code: int) -> str:
        """Return the sentence with the code that it explains."""
        return f"{self.sentence} (Meta's code {code})"


def rule_of(code: int, subcode: int = 0, message: str = "") -> Rule | None:
    """Return the rule of a code, or ``None`` for a code we do not know; ``message`` is Meta's."""
    if code == INVALID_PARAMETER and ABOUT_PROOF in message:
        return PROOF
    if (code, subcode) == NO_SUCH_OBJECT:
        return MISSING_OBJECT
    return PERMISSION if code in PERMISSIONS else RULES.get(code)


def _refused(sentence: str, reach: Reach = Reach.MESSAGE) -> Rule:
    return Rule(Rejected, sentence, reach)


def _stop(reach: Reach, sentence: str) -> Rule:
    return Rule(Rejected, sentence, reach, stops=True)


def _slow(reach: Reach, wait: float | None = None) -> Rule:
    return Rule(Throttled, reach=reach, wait=wait)


def _again(sentence: str, most_attempts: int | None = None) -> Rule:
    return Rule(Unavailable, sentence, most_attempts=most_attempts)


TRANSIENT = Rule(Unavailable, "Meta had an error that it says will pass.", most_attempts=2)
TOO_FAST = Rule(Throttled, reach=Reach.NUMBER)
UNKNOWN = Rule(Rejected, "Meta refused for a reason we do not know.")
PERMISSION = _stop(
    Reach.TENANT, "The access token lacks a permission, or it was taken away; issue a new one."
)
# Meta says "invalid parameter" (100) of it, and only the words tell it from a message's mistake.
# https://developers.facebook.com/docs/graph-api/guides/secure-requests
PROOF = Rule(
    WrongAppSecret,
    "The app secret is not that of the access token's app, or the app demands one; enter the one "
    "shown in Meta's app dashboard.",
    Reach.TENANT,
    stops=True,
)
MISSING_OBJECT = _stop(
    Reach.NUMBER, "Meta has no such object, or the access token may not see it; check the ids."
)
RULES: Mapping[int, Rule] = {
    # The app, its token and its permissions.
    0: _stop(Reach.TENANT, "Meta does not accept the access token; issue a new one."),
    1: Rule(Unavailable, "Meta had an unknown error.", most_attempts=3, is_vague=True),
    2: _again("Meta is overloaded or down for a moment."),
    3: _stop(Reach.TENANT, "The app lacks the capability; check its products and permissions."),
    4: _slow(Reach.ACCOUNT),
    10: PERMISSION,
    17: _slow(Reach.ACCOUNT),
    32: _slow(Reach.ACCOUNT),
    33: _stop(Reach.NUMBER, "The business phone number was deleted."),
    INVALID_PARAMETER: _refused("A parameter is not valid."),
    104: _stop(Reach.TENANT, "The request carried no valid access token or proof of the app."),
    BAD_TOKEN: _stop(Reach.TENANT, "The access token is expired or invalid; issue a new one."),
    368: _stop(
        Reach.ACCOUNT, "The account is blocked for breaking a policy; see Business Support."
    ),
    613: _slow(Reach.ACCOUNT),
    803: _stop(Reach.NUMBER, "Meta does not know the phone number id; check the workspace."),
    80007: _slow(Reach.ACCOUNT),
    # Who may be written to.
    130403: _refused("The business has blocked this person.", Reach.RECIPIENT),
    130472: _refused("The person is part of an experiment of Meta's.", Reach.RECIPIENT),
    130497: _refused("The account may not write to people in this country.", Reach.RECIPIENT),
    131021: _refused("The recipient is the business number itself.", Reach.RECIPIENT),
    131026: _refused(
        "It cannot be delivered: not on WhatsApp, old app, or terms not accepted.", Reach.RECIPIENT
    ),
    131030: _refused(
        "A test number may write to the numbers on its list only; add this one.", Reach.RECIPIENT
    ),
    131047: _refused(
        "More than 24 hours have passed since the person wrote; send a template.", Reach.RECIPIENT
    ),
    131049: _refused(
        "Meta limits how much marketing this person gets; wait 24 hours or more.", Reach.RECIPIENT
    ),
    131050: _refused("The person wants no marketing of this business.", Reach.RECIPIENT),
    131056: _slow(Reach.RECIPIENT),
    131020: _refused("The group id is not valid.", Reach.RECIPIENT),
    131041: _refused("There is no such group.", Reach.RECIPIENT),
    131207: _refused("The group is suspended.", Reach.RECIPIENT),
    131208: _slow(Reach.RECIPIENT),
    137000: _refused("The person's identity changed; verify it again.", Reach.RECIPIENT),
    # The number and the account.
    130429: _slow(Reach.NUMBER),
    131000: _again("Meta could not send it and does not say why.", 3),
    131005: _stop(Reach.NUMBER, "The access token may not use this number; check permissions."),
    131016: _again("A service of Meta's is unavailable for a moment."),
    131031: _stop(Reach.ACCOUNT, "The account is locked; see WhatsApp Manager."),
    131037: _stop(Reach.NUMBER, "The number's display name has to be approved first."),
    131042: _stop(Reach.ACCOUNT, "There is a problem with the account's payment method."),
    131045: _stop(Reach.NUMBER, "The number is not registered correctly; register it again."),
    131048: _stop(Reach.NUMBER, "Too many people blocked or reported messages of this number."),
    131057: _slow(Reach.NUMBER, 60),
    131064: _stop(Reach.ACCOUNT, "The account is limited for wrongly classified templates."),
    133000: _stop(Reach.NUMBER, "An earlier deregistration did not finish; deregister again."),
    133004: _again("The registration service is unavailable for a moment."),
    133005: _stop(Reach.NUMBER, "The two-step PIN is wrong."),
    133006: _stop(Reach.NUMBER, "The number has to be verified before it is registered."),
    133008: _stop(Reach.NUMBER, "Too many wrong PINs; wait as long as Meta says."),
    133009: _stop(Reach.NUMBER, "PINs were entered too fast; wait as long as Meta says."),
    133010: _stop(Reach.NUMBER, "The number is not registered on the Cloud API."),
    133015: _stop(Reach.NUMBER, "The number was deleted a moment ago; wait five minutes."),
    133016: _stop(Reach.NUMBER, "Too many registrations of this number in 72 hours."),
    134011: _refused("The terms of WhatsApp payments are not accepted yet.", Reach.ACCOUNT),
    # What the message says.
    131008: _refused("A required parameter is missing."),
    131009: _refused("A parameter has a value that is not valid."),
    131051: _refused("Meta does not support this type of message."),
    131052: _refused("Meta could not fetch the file."),
    131053: _refused("Meta could not take the file; check its type and size."),
    131062: _refused("This message needs a phone number; a user id is not enough."),
    135000: _refused("Something about the parameters is not valid; Meta does not say what."),
    # Whom the number has blocked.
    139100: _again("Meta could not do it for some of the people, and does not say for whom."),
    139101: _refused("The number's list is full: Meta blocks 64,000 people; unblock somebody."),
    139102: _again("The list of blocked people changed while it was read."),
    139103: _again("Meta had an error of its own with the list of blocked people."),
    # Its template.
    131055: _refused("This API takes marketing templates only.", Reach.TEMPLATE),
    131061: _refused("A template with a highest price needs the Marketing API.", Reach.TEMPLATE),
    131063: _stop(Reach.TEMPLATE, "The account sends marketing by the Marketing API only."),
    132000: _refused("The number of parameters is not that of the template.", Reach.TEMPLATE),
    132001: _refused("There is no approved template of this name and language.", Reach.TEMPLATE),
    132005: _refused("The text is too long once the parameters are in it.", Reach.TEMPLATE),
    132007: _refused("The template breaks a policy of Meta's.", Reach.TEMPLATE),
    132008: _refused("A parameter does not fit the template.", Reach.TEMPLATE),
    132012: _refused("A parameter is not of the form the template wants.", Reach.TEMPLATE),
    132015: _stop(Reach.TEMPLATE, "The template is paused for its low quality."),
    132016: _stop(Reach.TEMPLATE, "The template is disabled for good; make a new one."),
    132018: _refused("The parameters do not fit the template.", Reach.TEMPLATE),
    132068: _stop(Reach.TEMPLATE, "The template's flow is blocked."),
    132069: _refused("The template's flow is throttled; try again in an hour.", Reach.TEMPLATE),
    134100: _refused("This API takes marketing templates only.", Reach.TEMPLATE),
    134101: _slow(Reach.TEMPLATE, 300),
    134102: _refused("The template cannot be used with the Marketing API.", Reach.TEMPLATE),
}
# What these codes mean of somebody who is to be blocked.
BLOCK_RULES: Mapping[int, Rule] = {
    131021: _refused("The number cannot block itself.", Reach.RECIPIENT),
    131047: _refused(
        "Meta blocks only people who wrote to this number in the last 24 hours; block them when "
        "they write again.",
        Reach.RECIPIENT,
    ),
}
