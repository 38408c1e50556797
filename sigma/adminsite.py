"""The admin's look and menu (django-unfold).

Callables are named by path, because settings load before models.
"""

from __future__ import annotations

from django.templatetags.static import static
from django.urls import reverse_lazy

MEMBER = "sigma.dashboard.is_member"
SUPERUSER = "sigma.dashboard.is_superuser"


def _item(title: str, icon: str, model: str, permission: str = MEMBER) -> dict[str, object]:
    link = reverse_lazy(f"admin:{model}_changelist")
    return {"title": title, "icon": icon, "link": link, "permission": permission}


def _group(title: str, *items: dict[str, object]) -> dict[str, object]:
    return {"title": title, "separator": True, "items": list(items)}


UNFOLD: dict[str, object] = {
    "SITE_TITLE": "SIGMA",
    "SITE_HEADER": "SIGMA",
    "SITE_SUBHEADER": "WhatsApp connector",
    "SITE_SYMBOL": "hub",
    "SITE_URL": None,
    "SITE_FAVICONS": [
        {"rel": "icon", "type": "image/svg+xml", "href": lambda _: static("sigma/icon.svg")}
    ],
    "ACCOUNT": {
        "navigation": [{"title": "Second factor", "link": reverse_lazy("admin:second_factor")}]
    },
    "DASHBOARD_CALLBACK": "sigma.dashboard.add_context",
    "SIDEBAR": {
        "show_search": False,
        "navigation": [
            {
                "items": [
                    {
                        "title": "Overview",
                        "icon": "dashboard",
                        "link": reverse_lazy("admin:index"),
                    },
                    {"title": "GraphQL", "icon": "data_object", "link": "/graphql"},
                ],
            },
            _group(
                "Who",
                _item("Tenants", "apartment", "workspaces_tenant"),
                _item("Workspaces", "smartphone", "workspaces_workspace"),
                _item("API keys", "key", "workspaces_apikey"),
                _item("Memberships", "group", "workspaces_membership", SUPERUSER),
                _item("Users", "person", "auth_user", SUPERUSER),
            ),
            _group(
                "Messages",
                _item("Messages", "chat", "messaging_message"),
                _item("Contacts", "contacts", "messaging_contact"),
                _item("Receipts", "done_all", "messaging_messagestatus"),
                _item("Media", "attach_file", "messaging_media"),
            ),
            _group(
                "Templates",
                _item("Templates", "description", "templates_wa_template"),
                _item("Syncs", "sync", "templates_wa_templatesync"),
                _item("Template events", "history", "templates_wa_templateeventrow"),
            ),
            _group(
                "Sending",
                _item("Broadcasts", "campaign", "messaging_broadcast"),
                _item("Numbers", "sim_card", "messaging_numberstate"),
                _item("Linked devices", "phonelink", "linked_device_sendersession"),
                _item("Sending pauses", "pause_circle", "messaging_sendingpause"),
            ),
            _group(
                "Callbacks",
                _item("Pending", "hourglass_empty", "whatsapp_webhookpending"),
                _item("Dead and quarantined", "report", "whatsapp_webhookdead"),
                _item("Ledger", "balance", "whatsapp_webhookledger"),
                _item("Unhandled", "help", "whatsapp_webhookunhandled"),
            ),
            _group(
                "Events",
                _item("Subscriptions", "webhook", "events_eventsubscription"),
                _item("Deliveries", "outbox", "events_eventdelivery"),
            ),
        ],
    },
}
