"""WhatsApp Business Accounts and apps: their fields, and the subscriptions of apps to accounts.

https://developers.facebook.com/documentation/business-messaging/whatsapp/reference/whatsapp-business-account
"""

from __future__ import annotations

from connectors.simulator.meta import examples, handshake, numbers, templates
from connectors.simulator.meta.failures import GraphError
from connectors.simulator.meta.http import (
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
from connectors.simulator.meta.simulator import Simulator
from connectors.simulator.meta.world import Json, Subscription

USUAL = ("id", "name", "timezone_id", "message_template_namespace")


def _get(sim: Simulator, call: GraphCall) -> HttpAnswer:
    account = call.account
    node: Json = {
        "id": account.id,
        "name": account.name,
        "currency": "USD",
        "timezone_id": "1",
        "status": "ACTIVE",
        "country": "ZA",
        "message_template_namespace": f"ns_{account.id}",
        "account_review_status": "APPROVED",
        "business_verification_status": "verified",
        "ownership_type": "SELF",
        "is_enabled_for_insights": True,
        "marketing_messages_lite_api_status": "ELIGIBLE",
        "marketing_messages_onboarding_status": "ELIGIBLE",
        "disable_marketing_messages_on_cloud_api": False,
        "on_behalf_of_business_info": None,
        "subscribed_apps": {"data": [_subscribed(sim, s) for s in account.subscriptions]},
        "owner_business_info": {"name": account.name, "id": account.business_id},
        "whatsapp_business_manager_messaging_limit": account.messaging_limit,
        "health_status": numbers.health(account, None),
    }
    return answer(picked(node, call.argument("fields"), USUAL))


def _numbers(sim: Simulator, call: GraphCall) -> HttpAnswer:
    account, asked = call.account, call.argument("fields")
    nodes = [
        picked(numbers.node(account, number), asked, numbers.USUAL) for number in account.numbers
    ]
    return answer(page(call, nodes))


def _subscriptions(sim: Simulator, call: GraphCall) -> HttpAnswer:
    return answer({"data": [_subscribed(sim, s) for s in call.account.subscriptions]})


def _subscribed(sim: Simulator, subscription: Subscription) -> Json:
    app = sim.registry.apps.get(subscription.app_id)
    name = app.name if app else ""
    link = f"https://www.facebook.com/games/?app_id={subscription.app_id}"
    facts: Json = {"id": subscription.app_id, "name": name, "link": link}
    entry: Json = {"whatsapp_business_api_data": facts}
    if subscription.callback_url:
        entry["override_callback_uri"] = subscription.callback_url
    return entry


def _subscribe(sim: Simulator, call: GraphCall) -> Answered:
    account = call.account
    subscription = next((s for s in account.subscriptions if s.app_id == call.app.id), None)
    if subscription is None:
        subscription = Subscription(app_id=call.app.id)
        account.subscriptions.append(subscription)
    url = call.argument("override_callback_uri")
    return handshake.override(subscription, url, call.argument("verify_token"))


def _unsubscribe(sim: Simulator, call: GraphCall) -> HttpAnswer:
    account = call.account
    account.subscriptions = [s for s in account.subscriptions if s.app_id != call.app.id]
    return SUCCESS


def _get_app(sim: Simulator, call: GraphCall) -> HttpAnswer:
    return answer({"id": call.app.id, "name": call.app.name})


def _get_app_subscriptions(sim: Simulator, call: GraphCall) -> HttpAnswer:
    subscription = {
        "object": "whatsapp_business_account",
        "callback_url": call.app.callback_url,
        "active": True,
        "fields": [{"name": "messages", "version": call.request.version}],
    }
    return answer({"data": [subscription] if call.app.callback_url else []})


def _subscribe_app(sim: Simulator, call: GraphCall) -> Answered:
    if call.argument("object") != "whatsapp_business_account":
        raise GraphError(100, title="Param object must be one of {whatsapp_business_account}")
    return handshake.override(
        call.app, call.argument("callback_url"), call.argument("verify_token")
    )


ACCOUNT_TABLE: Table = {
    ("GET", ""): GraphRoute(_get),
    ("GET", "phone_numbers"): GraphRoute(_numbers),
    ("GET", "subscribed_apps"): GraphRoute(_subscriptions),
    ("POST", "subscribed_apps"): GraphRoute(_subscribe),
    ("DELETE", "subscribed_apps"): GraphRoute(_unsubscribe),
    **templates.EDGE,
}
# An app token has no permissions and needs none for its own app.
APP_TABLE: Table = {
    ("GET", ""): GraphRoute(_get_app, ""),
    ("GET", "subscriptions"): GraphRoute(_get_app_subscriptions, ""),
    ("POST", "subscriptions"): GraphRoute(_subscribe_app, ""),
    ("POST", "uploads"): GraphRoute(examples.begin, ""),
}
