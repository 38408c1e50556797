"""Business phone numbers: their fields, registration, profile.

https://developers.facebook.com/documentation/business-messaging/whatsapp/business-phone-numbers/phone-numbers
"""

from __future__ import annotations

import re

from connectors.simulator.meta import blocking, handshake, media, sending, shortlinks
from connectors.simulator.meta.failures import GraphError
from connectors.simulator.meta.fields import picked
from connectors.simulator.meta.http import SUCCESS, Answer, Call, answer
from connectors.simulator.meta.routes import MANAGEMENT, MESSAGING, Answered, Route, Table
from connectors.simulator.meta.simulator import Simulator
from connectors.simulator.meta.world import Account, Json, Number

USUAL = (
    "verified_name", "code_verification_status", "display_phone_number", "quality_rating",
    "platform_type", "throughput", "last_onboarded_time", "id",
)  # fmt: skip
PROFILE = ("about", "address", "description", "email", "profile_picture_url", "websites",
           "vertical", "messaging_product")  # fmt: skip
PIN = re.compile(r"[0-9]{6}")
WRONG_CODE = "000000"
# The most ice breakers and commands of a number (Meta, "Conversational components").
AUTOMATION = {"prompts": 4, "commands": 30}


def node(account: Account, number: Number) -> Json:
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


def health(account: Account, number: Number | None) -> Json:
    """Return whether messages can be sent, and what stands in the way."""
    entities: list[Json] = []
    if number is not None:
        entities.append(_entity("PHONE_NUMBER", number.id, _verdict(number), number.status))
    entities.append(_entity("WABA", account.id, "AVAILABLE", ""))
    entities.append(_entity("BUSINESS", account.business_id, "AVAILABLE", ""))
    verdicts = [str(entity["can_send_message"]) for entity in entities]
    worst = next((v for v in ("BLOCKED", "LIMITED") if v in verdicts), "AVAILABLE")
    return {"can_send_message": worst, "entities": entities}


def _verdict(number: Number) -> str:
    if number.status != "CONNECTED":
        return "BLOCKED"
    return "LIMITED" if number.quality_rating == "RED" else "AVAILABLE"


def _entity(kind: str, entity_id: str, verdict: str, status: str) -> Json:
    entity: Json = {"entity_type": kind, "id": entity_id, "can_send_message": verdict}
    if verdict == "LIMITED":
        entity["additional_info"] = ["The quality of this phone number is low."]
    if verdict == "BLOCKED":
        entity["errors"] = [{
            "error_code": 141000,
            "error_description": f"The phone number's status is {status}.",
            "possible_solution": "Register the phone number.",
        }]  # fmt: skip
    return entity


def _addresses(account: Account, number: Number) -> Json:
    overridden = next((s.callback_url for s in account.subscriptions if s.callback_url), "")
    found = {"phone_number": number.callback_url, "whatsapp_business_account": overridden}
    return {name: url for name, url in found.items() if url}


def _get(sim: Simulator, call: Call) -> Answer:
    return answer(picked(node(call.account, call.number), call.argument("fields"), USUAL))


def _post(sim: Simulator, call: Call) -> Answered:
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


def _request_code(sim: Simulator, call: Call) -> Answer:
    number = call.number
    if number.code_verification_status == "VERIFIED":
        raise GraphError(136024)
    if call.argument("code_method") not in ("SMS", "VOICE") or not call.argument("language"):
        raise GraphError(100, "The parameters code_method and language are required.")
    return SUCCESS


def _verify_code(sim: Simulator, call: Call) -> Answer:
    number = call.number
    code = call.argument("code").replace("-", "")
    if PIN.fullmatch(code) is None or code == WRONG_CODE:
        raise GraphError(136025)
    number.code_verification_status = "VERIFIED"
    return SUCCESS


def _register(sim: Simulator, call: Call) -> Answer:
    number = call.number
    sim.limits.take_registration("register", number, sim.clock.now())
    if number.code_verification_status != "VERIFIED":
        raise GraphError(133006)
    _check_pin(call.argument("pin"))
    if number.pin and call.argument("pin") != number.pin:
        raise GraphError(133005)
    number.pin, number.status = call.argument("pin"), "CONNECTED"
    return SUCCESS


def _deregister(sim: Simulator, call: Call) -> Answer:
    number = call.number
    sim.limits.take_registration("deregister", number, sim.clock.now())
    number.status = "DISCONNECTED"
    return SUCCESS


def _profile(sim: Simulator, call: Call) -> Answer:
    number = call.number
    asked = [name for name in call.argument("fields").split(",") if name] or list(PROFILE)
    known: Json = {"messaging_product": "whatsapp", **number.profile}
    return answer({"data": [{name: known[name] for name in asked if name in known}]})


def _set_profile(sim: Simulator, call: Call) -> Answer:
    number = call.number
    number.profile = number.profile | {n: call.document[n] for n in PROFILE if n in call.document}
    return SUCCESS


def _automate(sim: Simulator, call: Call) -> Answer:
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


TABLE: Table = {
    ("GET", ""): Route(_get),
    ("POST", ""): Route(_post),
    ("POST", "messages"): Route(sending.post_message, MESSAGING),
    ("POST", "media"): Route(media.upload, MESSAGING),
    ("POST", "request_code"): Route(_request_code),
    ("POST", "verify_code"): Route(_verify_code),
    ("POST", "register"): Route(_register),
    ("POST", "deregister"): Route(_deregister),
    ("GET", "whatsapp_business_profile"): Route(_profile, MESSAGING),
    ("POST", "whatsapp_business_profile"): Route(_set_profile, MANAGEMENT),
    ("POST", "conversational_automation"): Route(_automate),
    **blocking.EDGE,
    **shortlinks.EDGE,
}
