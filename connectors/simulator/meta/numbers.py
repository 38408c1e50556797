"""Business phone numbers: their fields, registration, profile, blocked people and short links.

https://developers.facebook.com/documentation/business-messaging/whatsapp/business-phone-numbers/phone-numbers
https://developers.facebook.com/documentation/business-messaging/whatsapp/block-users
https://developers.facebook.com/documentation/business-messaging/whatsapp/qr-codes
"""

from __future__ import annotations

import re
from collections.abc import Callable

from connectors.simulator.meta import handshake, media, sending
from connectors.simulator.meta.failures import GraphError, no_such_object, webhook_error
from connectors.simulator.meta.http import (
    MANAGEMENT,
    MESSAGING,
    SUCCESS,
    Answered,
    GraphCall,
    GraphRoute,
    HttpAnswer,
    Table,
    answer,
    page,
    picked,
)
from connectors.simulator.meta.recipients import GraphRecipient, recipient_of
from connectors.simulator.meta.simulator import Simulator
from connectors.simulator.meta.world import BusinessAccount, Json, PhoneNumber

USUAL = (
    "verified_name",
    "code_verification_status",
    "display_phone_number",
    "quality_rating",
    "platform_type",
    "throughput",
    "last_onboarded_time",
    "id",
)
PROFILE = (
    "about",
    "address",
    "description",
    "email",
    "profile_picture_url",
    "websites",
    "vertical",
    "messaging_product",
)
PIN = re.compile(r"[0-9]{6}")
WRONG_CODE = "000000"
# The most ice breakers and commands of a number (Meta, "Conversational components").
AUTOMATION = {"prompts": 4, "commands": 30}
MAX_BLOCKED_AT_ONCE = 1_000
MAX_BLOCKED = 64_000
# Meta's codes: somebody could not be blocked, and the list is full.
IN_PART, FULL = 139100, 139101
ITSELF, RE_ENGAGEMENT = 131021, 131047
CODE_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
CODE_LENGTH = 14
LONGEST_TEXT = 140
MAX_SHORT_LINKS = 2_000
QR_FORMATS = ("SVG", "PNG")


def node(account: BusinessAccount, number: PhoneNumber) -> Json:
    """Return every field of a number."""
    return {
        "id": number.id,
        "display_phone_number": number.display_phone_number,
        "verified_name": number.verified_name,
        "status": number.status,
        "quality_rating": number.quality_rating,
        "quality_score": {"score": number.quality_rating},
        "name_status": number.name_status,
        "new_name_status": "NONE",
        "code_verification_status": number.code_verification_status,
        "account_mode": number.account_mode,
        "platform_type": "CLOUD_API" if number.status == "CONNECTED" else "NOT_APPLICABLE",
        "throughput": {"level": number.throughput},
        "whatsapp_business_manager_messaging_limit": account.messaging_limit,
        "is_official_business_account": number.is_official_business_account,
        "is_pin_enabled": bool(number.pin),
        "is_on_biz_app": number.is_on_biz_app,
        "is_preverified_number": False,
        "search_visibility": "NON_VISIBLE",
        "eligibility_for_api_business_global_search": "NON_ELIGIBLE_UNDEFINED",
        "country_dial_code": number.digits[:1],
        "country_code": None,
        "certificate": None,
        "new_certificate": None,
        "last_onboarded_time": "2026-01-05T09:00:00+0000",
        "webhook_configuration": _addresses(account, number),
        "health_status": health(account, number),
        "username": None,
        "conversational_automation": {"id": number.id, **number.automation},
    }


def health(account: BusinessAccount, number: PhoneNumber | None) -> Json:
    """Return whether messages can be sent, and what stands in the way."""
    entities: list[Json] = []
    if number is not None:
        entities.append(_entity("PHONE_NUMBER", number.id, _verdict(number), number.status))
    entities.append(_entity("WABA", account.id, "AVAILABLE", ""))
    entities.append(_entity("BUSINESS", account.business_id, "AVAILABLE", ""))
    verdicts = [str(entity["can_send_message"]) for entity in entities]
    worst = next((v for v in ("BLOCKED", "LIMITED") if v in verdicts), "AVAILABLE")
    return {"can_send_message": worst, "entities": entities}


def _verdict(number: PhoneNumber) -> str:
    if number.status != "CONNECTED":
        return "BLOCKED"
    return "LIMITED" if number.quality_rating == "RED" else "AVAILABLE"


def _entity(kind: str, entity_id: str, verdict: str, status: str) -> Json:
    entity: Json = {"entity_type": kind, "id": entity_id, "can_send_message": verdict}
    if verdict == "LIMITED":
        entity["additional_info"] = ["The quality of this phone number is low."]
    if verdict == "BLOCKED":
        entity["errors"] = [
            {
                "error_code": 141000,
                "error_description": f"The phone number's status is {status}.",
                "possible_solution": "Register the phone number.",
            }
        ]
    return entity


def _addresses(account: BusinessAccount, number: PhoneNumber) -> Json:
    overridden = next((s.callback_url for s in account.subscriptions if s.callback_url), "")
    found = {"phone_number": number.callback_url, "whatsapp_business_account": overridden}
    return {name: url for name, url in found.items() if url}


def _get(sim: Simulator, call: GraphCall) -> HttpAnswer:
    return answer(picked(node(call.account, call.number), call.argument("fields"), USUAL))


def _post(sim: Simulator, call: GraphCall) -> Answered:
    number = call.number
    pin, webhook = call.argument("pin"), call.document.get("webhook_configuration")
    if pin:
        _check_pin(pin)
        number.pin = pin
        return SUCCESS
    if isinstance(webhook, dict):
        url = str(webhook.get("override_callback_uri", ""))
        return handshake.override(number, url, str(webhook.get("verify_token", "")))
    raise GraphError(100, "There is nothing to change.")


def _request_code(sim: Simulator, call: GraphCall) -> HttpAnswer:
    number = call.number
    if number.code_verification_status == "VERIFIED":
        raise GraphError(136024)
    if call.argument("code_method") not in ("SMS", "VOICE") or not call.argument("language"):
        raise GraphError(100, "The parameters code_method and language are required.")
    return SUCCESS


def _verify_code(sim: Simulator, call: GraphCall) -> HttpAnswer:
    number = call.number
    code = call.argument("code").replace("-", "")
    if PIN.fullmatch(code) is None or code == WRONG_CODE:
        raise GraphError(136025)
    number.code_verification_status = "VERIFIED"
    return SUCCESS


def _register(sim: Simulator, call: GraphCall) -> HttpAnswer:
    number = call.number
    sim.limits.take_registration("register", number, sim.clock.now())
    if number.code_verification_status != "VERIFIED":
        raise GraphError(133006)
    _check_pin(call.argument("pin"))
    if number.pin and call.argument("pin") != number.pin:
        raise GraphError(133005)
    number.pin, number.status = call.argument("pin"), "CONNECTED"
    return SUCCESS


def _deregister(sim: Simulator, call: GraphCall) -> HttpAnswer:
    number = call.number
    sim.limits.take_registration("deregister", number, sim.clock.now())
    number.status = "DISCONNECTED"
    return SUCCESS


def _profile(sim: Simulator, call: GraphCall) -> HttpAnswer:
    number = call.number
    asked = [name for name in call.argument("fields").split(",") if name] or list(PROFILE)
    known: Json = {"messaging_product": "whatsapp", **number.profile}
    return answer({"data": [{name: known[name] for name in asked if name in known}]})


def _set_profile(sim: Simulator, call: GraphCall) -> HttpAnswer:
    number = call.number
    number.profile = number.profile | {n: call.document[n] for n in PROFILE if n in call.document}
    return SUCCESS


def _automate(sim: Simulator, call: GraphCall) -> HttpAnswer:
    """Replace ice breakers (``prompts``) and ``commands``; what is not named stays."""
    number = call.number
    given = {name: call.listed(name) for name in AUTOMATION if name in call.document}
    for name, entries in given.items():
        if not isinstance(entries, list) or len(entries) > AUTOMATION[name]:
            raise GraphError(100, f"Param {name} must be an array of at most {AUTOMATION[name]}.")
    number.automation = number.automation | given
    return SUCCESS


def _check_pin(pin: str) -> None:
    if PIN.fullmatch(pin) is None:
        raise GraphError(100, "Param pin must be 6 digits.")


def _list_blocked(sim: Simulator, call: GraphCall) -> HttpAnswer:
    return answer(page(call, [_blocked(key) for key in call.number.blocked]))


def _block(sim: Simulator, call: GraphCall) -> HttpAnswer:
    """Block people who wrote within the last 24 hours; the others are named as failed."""
    number = call.number

    def refusal(who: GraphRecipient) -> int | None:
        if who.key in number.blocked:
            return None
        if who.digits == number.digits:
            return ITSELF
        if len(number.blocked) >= MAX_BLOCKED:
            return FULL
        if not sim.is_window_open(number.id, who.key):
            return RE_ENGAGEMENT
        number.blocked = [*number.blocked, who.key]
        return None

    return _for_each(call, "added_users", refusal)


def _unblock(sim: Simulator, call: GraphCall) -> HttpAnswer:
    number = call.number

    def refusal(who: GraphRecipient) -> int | None:
        number.blocked = [key for key in number.blocked if key != who.key]
        return None

    return _for_each(call, "removed_users", refusal)


def _for_each(
    call: GraphCall, done: str, refusal: Callable[[GraphRecipient], int | None]
) -> HttpAnswer:
    """Answer 200 if everybody is done, else 400 with both lists beside the error."""
    succeeded: list[Json] = []
    failed: list[Json] = []
    for who in _people(call):
        code = refusal(who)
        if code is None:
            succeeded.append(who.contact())
        else:
            failed.append({**who.contact(), "errors": [webhook_error(code)]})
    users: Json = {done: succeeded}
    document: Json = {"messaging_product": "whatsapp", "block_users": users}
    if not failed:
        return answer(document)
    error = GraphError(IN_PART, "Some of the users could not be blocked or unblocked.")
    users["failed_users"] = failed
    return answer({**document, **error.envelope()}, error.status)


def _people(call: GraphCall) -> list[GraphRecipient]:
    entries = call.document.get("block_users")
    if not isinstance(entries, list) or not 1 <= len(entries) <= MAX_BLOCKED_AT_ONCE:
        raise GraphError(100, f"Param block_users must hold 1 to {MAX_BLOCKED_AT_ONCE} users.")
    people = []
    for entry in entries:
        if not isinstance(entry, dict):
            raise GraphError(100, "Param block_users must hold objects with user or user_id.")
        names = {"to": entry.get("user"), "recipient": entry.get("user_id")}
        people.append(recipient_of({k: v for k, v in names.items() if v is not None}))
    if any(".ENT." in who.user_id for who in people):
        raise GraphError(100, "A parent business-scoped user ID cannot be blocked.")
    return people


def _blocked(key: str) -> Json:
    name = "wa_id" if key.isdigit() else "user_id"
    # Meta's page shows no "input" here; pywa reads one.
    return {"messaging_product": "whatsapp", name: key, "input": key}


def _list_short_links(sim: Simulator, call: GraphCall) -> HttpAnswer:
    number = call.number
    return answer(page(call, [_short_link(number, code) for code in reversed(number.short_links)]))


def _get_short_link(sim: Simulator, call: GraphCall) -> HttpAnswer:
    return answer({"data": [_short_link(call.number, _known_code(call, call.request.parts[-1]))]})


def _save_short_link(sim: Simulator, call: GraphCall) -> HttpAnswer:
    """Make a short link, or give the one that ``code`` (or the path) names another text."""
    number = call.number
    text = call.argument("prefilled_message")
    code = call.argument("code") or "".join(call.request.parts[2:])
    if not 1 <= len(text) <= LONGEST_TEXT:
        raise GraphError(100, f"Param prefilled_message must have 1 to {LONGEST_TEXT} characters.")
    image = call.argument("generate_qr_image").upper()
    if image and image not in QR_FORMATS:
        raise GraphError(100, "Param generate_qr_image must be one of {SVG, PNG}.")
    if code:
        _known_code(call, code)
    elif len(number.short_links) >= MAX_SHORT_LINKS:
        raise GraphError(100, f"A phone number has at most {MAX_SHORT_LINKS} short links.")
    else:
        code = "".join(sim.rng.choices(CODE_ALPHABET, k=CODE_LENGTH))
    number.short_links = number.short_links | {code: text}
    return answer(_short_link(number, code, image))


def _delete_short_link(sim: Simulator, call: GraphCall) -> HttpAnswer:
    number, code = call.number, _known_code(call, call.request.parts[-1])
    number.short_links = {k: text for k, text in number.short_links.items() if k != code}
    return SUCCESS


def _short_link(number: PhoneNumber, code: str, image: str = "") -> Json:
    node: Json = {
        "code": code,
        "prefilled_message": number.short_links[code],
        "deep_link_url": f"https://wa.me/message/{code}",
    }
    if image:
        node["qr_image_url"] = f"https://scontent.example/{code}.{image.lower()}"
    return node


def _known_code(call: GraphCall, code: str) -> str:
    if code not in call.number.short_links:
        raise no_such_object(code)
    return code


TABLE: Table = {
    ("GET", ""): GraphRoute(_get),
    ("POST", ""): GraphRoute(_post),
    ("POST", "messages"): GraphRoute(sending.post_message, MESSAGING),
    ("POST", "media"): GraphRoute(media.upload, MESSAGING),
    ("POST", "request_code"): GraphRoute(_request_code),
    ("POST", "verify_code"): GraphRoute(_verify_code),
    ("POST", "register"): GraphRoute(_register),
    ("POST", "deregister"): GraphRoute(_deregister),
    ("GET", "whatsapp_business_profile"): GraphRoute(_profile, MESSAGING),
    ("POST", "whatsapp_business_profile"): GraphRoute(_set_profile, MANAGEMENT),
    ("POST", "conversational_automation"): GraphRoute(_automate),
    ("GET", "block_users"): GraphRoute(_list_blocked, MESSAGING),
    ("POST", "block_users"): GraphRoute(_block, MESSAGING),
    ("DELETE", "block_users"): GraphRoute(_unblock, MESSAGING),
    ("GET", "message_qrdls"): GraphRoute(_list_short_links),
    ("POST", "message_qrdls"): GraphRoute(_save_short_link),
    ("GET", "message_qrdls/*"): GraphRoute(_get_short_link),
    ("POST", "message_qrdls/*"): GraphRoute(_save_short_link),
    ("DELETE", "message_qrdls/*"): GraphRoute(_delete_short_link),
}
