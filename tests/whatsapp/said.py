"""What each recorded message says."""

from typing import Any

from messaging.events import SharedCard

REPLIED_TO = "wamid.HBULMTU1NTAxMDAwMDEVAgASGBQzQTAwMDAwMDAwMDAwMDAwMDM4NA=="
OWN = "wamid.HBULMjcwMDAwMDAxMDEVAgASGBQzQTAwMDAwMDAwMDAwMDAwMDAwNQ=="

# What each recorded message says: its type, text, content and the message that it refers to.
SAID: dict[str, tuple[str, str | None, dict[str, Any], str | None]] = {
    "text": ("text", "Does it come in another colour?", {}, None),
    "text_reply": ("text", "Yes please", {}, REPLIED_TO),
    "text_forwarded": ("text", "Look at this", {"forwarded": True}, None),
    "text_frequently_forwarded": ("text", "Look at this", {"frequently_forwarded": True}, None),
    "text_about_a_product": (
        "text",
        "Is it in stock?",
        {
            "referred_product": {
                "catalog_id": "194836987003835",
                "product_retailer_id": "di9ozbzfi4",
            }
        },
        REPLIED_TO,
    ),
    "text_from_an_ad": (
        "text",
        "Can I get more info?",
        {
            "referral": {
                "source_url": "https://fb.me/3cr4Wqqkv",
                "source_id": "120226305854810726",
                "source_type": "ad",
                "headline": "Chat with us",
                "body": "Summer succulents are here!",
                "media_type": "image",
                "image_url": "https://scontent.example/t45.jpg",
                "ctwa_clid": "Aff-n8ZTODiE79d22KtAwQKj9e",
                "welcome_message": {"text": "Hi! How can we help?"},
            }
        },
        None,
    ),
    "image": ("image", "My receipt", {}, None),
    "video": ("video", "Watch", {}, None),
    "audio": ("audio", None, {}, None),
    "document": ("document", "Invoice", {}, None),
    "sticker": ("sticker", None, {}, None),
    "voicemail": ("audio", None, {}, None),
    "image_with_errors": (
        "image",
        None,
        {
            "errors": [
                {
                    "code": 131052,
                    "title": "Media download error",
                    "message": "Media download error",
                    "details": "Failed to download the media from the sender +27 000 000 101",
                }
            ]
        },
        None,
    ),
    "location": (
        "location",
        "Philz Coffee, 101 Long St, Cape Town",
        {
            "latitude": -33.9248685,
            "longitude": 18.4240553,
            "name": "Philz Coffee",
            "address": "101 Long St, Cape Town",
            "url": "https://foursquare.example/v/philz",
        },
        None,
    ),
    "location_pin": ("location", None, {"latitude": -33.0, "longitude": 18.42}, None),
    "contacts": (
        "contacts",
        None,
        {
            "contacts": [
                SharedCard(
                    {
                        "name": {
                            "formatted_name": "Dr Zanele Nkosi",
                            "first_name": "Zanele",
                            "last_name": "Nkosi",
                        },
                        "phones": [
                            {"phone": "+27 000 000 103", "wa_id": "27000000103", "type": "WORK"}
                        ],
                        "emails": [{"email": "zanele@clinic.example", "type": "WORK"}],
                        "org": {
                            "company": "Clinic",
                            "department": "Surgery",
                            "title": "Doctor",
                        },
                        "urls": [],
                    },
                    ("27000000103", "27000000103"),
                ),
                SharedCard(
                    {
                        "name": {"formatted_name": "+27 000 000 104"},
                        "phones": [{"phone": "+27 000 000 104"}],
                    },
                    ("27000000104",),
                ),
            ]
        },
        None,
    ),
    "contacts_shared_on_request": (
        "contacts",
        None,
        {
            "contacts": [
                SharedCard(
                    {
                        "vcard": "BEGIN:VCARD\nTEL;waid=27000000101:+27 000 000 101\nEND:VCARD",
                        "phones": [{"phone": "+27 000 000 101", "wa_id": "27000000101"}],
                        "origin": "contact_request",
                    },
                    ("27000000101", "27000000101"),
                )
            ],
            "origin": "contact_request",
        },
        None,
    ),
    "button_reply": (
        "interactive",
        "Yes, change it",
        {"interactive": "button_reply", "id": "change-yes", "title": "Yes, change it"},
        REPLIED_TO,
    ),
    "list_reply": (
        "interactive",
        "Priority Mail",
        {
            "interactive": "list_reply",
            "id": "priority_express",
            "title": "Priority Mail",
            "description": "Next day",
        },
        REPLIED_TO,
    ),
    "form_reply": (
        "interactive",
        "Sent",
        {
            "interactive": "nfm_reply",
            "name": "flow",
            "response_json": '{"flow_token": "token-a", "date": "2026-01-15", '
            '"phone": "+27 000 000 101", "seats": 2}',
            "response": {
                "flow_token": "token-a",
                "date": "2026-01-15",
                "phone": "+27 000 000 101",
                "seats": 2,
            },
        },
        REPLIED_TO,
    ),
    "form_reply_is_a_list": (
        "interactive",
        "Sent",
        {
            "interactive": "nfm_reply",
            "name": "flow",
            "response_json": '["a", 1]',
            "response": ["a", 1],
        },
        REPLIED_TO,
    ),
    "form_reply_is_broken": (
        "interactive",
        "Sent",
        {
            "interactive": "nfm_reply",
            "name": "flow",
            "response_json": '{"flow_token": ',
            "response_is_invalid": True,
        },
        REPLIED_TO,
    ),
    "form_reply_address": (
        "interactive",
        "Thandi, Cape Town",
        {
            "interactive": "nfm_reply",
            "name": "address_message",
            "response_json": '{"saved_address_id": "a1", "values": {"name": "Thandi", '
            '"phone_number": "27000000101", "city": "Cape Town"}}',
            "response": {
                "saved_address_id": "a1",
                "values": {"name": "Thandi", "phone_number": "27000000101", "city": "Cape Town"},
            },
        },
        None,
    ),
    "call_permission": (
        "interactive",
        None,
        {
            "interactive": "call_permission_reply",
            "response": "accept",
            "is_permanent": False,
            "expires_at": "2026-01-08T00:00:00+00:00",
            "response_source": "user_action",
        },
        REPLIED_TO,
    ),
    "button": ("button", "Confirm", {"payload": "confirm-order-17"}, REPLIED_TO),
    "button_without_payload": ("button", "Confirm", {}, None),
    "order": (
        "order",
        "Before noon, please",
        {
            "catalog_id": "194836987003835",
            "product_items": [
                {
                    "product_retailer_id": "di9ozbzfi4",
                    "quantity": 2,
                    "item_price": 30,
                    "currency": "USD",
                },
                {
                    "product_retailer_id": "nqryix03ez",
                    "quantity": "1",
                    "item_price": 25.5,
                    "currency": "USD",
                },
            ],
        },
        None,
    ),
    "reaction": ("reaction", "👍", {"emoji": "👍"}, REPLIED_TO),
    "reaction_removed": ("reaction", None, {"removed": True}, REPLIED_TO),
    "reaction_removed_with_empty_emoji": ("reaction", None, {"removed": True}, REPLIED_TO),
    "edit": ("edit", "Two, I mean", {"edited_type": "text"}, OWN),
    "revoke": ("revoke", None, {}, OWN),
    "unsupported": (
        "unsupported",
        None,
        {
            "unsupported": "poll_creation",
            "errors": [
                {
                    "code": 131051,
                    "title": "Message type unknown",
                    "message": "Message type unknown",
                    "details": "Message type is currently not supported.",
                }
            ],
        },
        None,
    ),
    "type_is_missing": ("text", "Guess my type", {}, None),
    "media_placeholder": ("media_placeholder", None, {}, None),
    "system_identity_key_changed": (
        "system",
        "Security code changed",
        {"system": "customer_identity_changed"},
        None,
    ),
    "text_nul_and_lone_surrogate": ("text", "a\ufffdb\ufffdc 😀", {}, None),
}
