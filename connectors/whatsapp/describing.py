"""Read what Meta says about a number, an account and a token.

https://developers.facebook.com/docs/graph-api/reference/whats-app-business-account-to-number-current-status
https://developers.facebook.com/docs/whatsapp/cloud-api/health-status
"""

from __future__ import annotations

import re
from datetime import UTC, datetime

from connectors.whatsapp.errors import clean
from connectors.whatsapp.wire.answers import Json, integer, member, members, text
from workspaces.channel_facts import NumberFacts, TokenFacts

BASIC_FIELDS = "id,display_phone_number,verified_name,status,quality_rating,throughput"
NUMBER_FIELDS = (
    f"{BASIC_FIELDS},name_status,code_verification_status,account_mode,platform_type,"
    "whatsapp_business_manager_messaging_limit,is_on_biz_app,health_status"
)
OWNER_FIELDS = "owner_business_info{id}"
# The first is what sending needs, the second what templates and numbers need.
MESSAGING, MANAGEMENT = "whatsapp_business_messaging", "whatsapp_business_management"
ACCOUNT_ID = re.compile("[0-9]{5,32}")
MAX_PHONE = 20
MAX_PROBLEM = 500
MAX_WORD = 32


def number_in(node: Json, portfolio_id: str) -> NumberFacts:
    """Return what a phone number node says."""
    health = member(node, "health_status")
    digits = "".join(c for c in text(node, "display_phone_number") if c in "0123456789")
    return NumberFacts(
        number=digits[:MAX_PHONE],
        verified_name=text(node, "verified_name")[:256],
        status=_word(node, "status"),
        quality_rating=_word(node, "quality_rating"),
        messaging_limit=_word(node, "whatsapp_business_manager_messaging_limit"),
        throughput_level=_word(member(node, "throughput"), "level"),
        account_mode=_word(node, "account_mode"),
        is_on_business_app=node.get("is_on_biz_app") is True,
        portfolio_id=portfolio_id[:64],
        account_id=_account_in(health),
        can_send=_word(health, "can_send_message"),
        problem=_problem_in(health),
    )


def owner_in(node: Json) -> str:
    """Return the id of the business portfolio that owns an account; empty: not told."""
    return text(member(node, "owner_business_info"), "id")


def token_in(node: Json, account_id: str) -> TokenFacts:
    """Return what a debugged token says, and what it lacks for the account ``account_id``."""
    data = member(node, "data")
    scopes = data.get("scopes")
    names = tuple(s[:64] for s in scopes if isinstance(s, str)) if isinstance(scopes, list) else ()
    granted = _granted(data)
    is_valid = data.get("is_valid") is True
    return TokenFacts(
        is_valid=is_valid,
        expires_at=_moment(integer(data, "expires_at")),
        scopes=names,
        account_ids=granted,
        problem=_lacks(names, granted, account_id) if is_valid else _invalid(data),
    )


def _account_in(health: Json) -> str:
    """Return the account among the parties whose health Meta tells beside the number's."""
    for entity in members(health, "entities"):
        account_id = text(entity, "id")
        if text(entity, "entity_type") == "WABA" and ACCOUNT_ID.fullmatch(account_id):
            return account_id
    return ""


def _problem_in(health: Json) -> str:
    said: list[str] = []
    for entity in members(health, "entities"):
        kind = _word(entity, "entity_type")
        for error in members(entity, "errors"):
            solution = text(error, "possible_solution")
            code = integer(error, "error_code")
            said.append(f"{kind} {code}: {text(error, 'error_description')} {solution}".strip())
        hints = entity.get("additional_info")
        if isinstance(hints, list):
            said += [f"{kind}: {hint}" for hint in hints if isinstance(hint, str)]
    return " ".join(clean(sentence) for sentence in said)[:MAX_PROBLEM]


def _granted(data: Json) -> tuple[str, ...]:
    """Return the accounts a token was granted; none where it was not narrowed down."""
    found: dict[str, None] = {}
    for grant in members(data, "granular_scopes"):
        targets = grant.get("target_ids")
        if grant.get("scope") in (MESSAGING, MANAGEMENT) and isinstance(targets, list):
            found.update({str(target)[:64]: None for target in targets})
    return tuple(found)


def _lacks(scopes: tuple[str, ...], granted: tuple[str, ...], account_id: str) -> str:
    missing = [scope for scope in (MESSAGING, MANAGEMENT) if scope not in scopes]
    if missing:
        return f"The token lacks the permission {' and '.join(missing)}."
    if granted and account_id and account_id not in granted:
        return f"The token was not granted the account {account_id}."
    return ""


def _invalid(data: Json) -> str:
    told = clean(text(member(data, "error"), "message"))
    return f"Meta says that the token is not valid. {told}".strip()


def _moment(seconds: int | None) -> datetime | None:
    """Return a time Meta gives in seconds; 0 is its word for never."""
    if not seconds:
        return None
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        return None


def _word(node: Json, key: str) -> str:
    return text(node, key)[:MAX_WORD]
