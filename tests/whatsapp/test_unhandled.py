import pytest

from connectors.whatsapp.wire.parsing import parse
from messaging.events import IdentityChange, Unhandled
from tests.whatsapp.reading import NUMBER, RECEIVED_AT, WABA, events, payload, read, tree, value_of

PARTNERS_WABA = "777000888999000"


@pytest.mark.parametrize(
    ("name", "field", "kinds"),
    [
        ("calls", "calls", ["error:138023", "connect", "terminate"]),
        ("history_declined", "history", ["error:2593109"]),
        ("groups_created", "group_lifecycle_update", ["group_create"]),
        ("user_actions", "messages", ["marketing_messages_link_click"]),
        ("standby", "standby", ["messages:text", "statuses:sent"]),
        ("messaging_handovers", "messaging_handovers", ["control_passed"]),
        ("automatic_events", "automatic_events", ["leadsubmitted"]),
        ("account_update_partner_added", "account_update", ["partner_added"]),
        ("account_update_misplaced_field", "account_update", ["partner_app_installed"]),
        ("account_review_update", "account_review_update", ["approved"]),
        ("account_settings_update", "account_settings_update", ["phone_number_settings"]),
        ("account_alerts", "account_alerts", ["oba_approved"]),
        ("phone_number_quality_update", "phone_number_quality_update", ["throughput_upgrade"]),
        ("flows", "flows", ["client_error_rate"]),
        ("future_field", "quantum_updates", ["empty"]),
        ("messages_metadata_only", "messages", ["empty"]),
        ("errors_only", "messages", ["error:131035"]),
        ("empty_entry", "", ["empty"]),
        ("another_object", "comments", ["object:instagram"]),
    ],
)
def test_it_counts_what_it_does_not_model(name: str, field: str, kinds: list[str]) -> None:
    counted = [event for event in events(name) if not isinstance(event, IdentityChange)]
    assert counted == [Unhandled(field, kind) for kind in kinds]


@pytest.mark.parametrize(
    ("name", "waba_id", "phone_number_id"),
    [
        ("calls", WABA, NUMBER),
        ("messaging_handovers", WABA, NUMBER),
        ("account_settings_update", WABA, NUMBER),
        ("account_review_update", WABA, None),
        ("account_update_partner_added", PARTNERS_WABA, None),
        ("empty_entry", "", None),
    ],
)
def test_it_says_to_whom_an_update_belongs(
    name: str, waba_id: str, phone_number_id: str | None
) -> None:
    update = parse(payload(name), RECEIVED_AT)[0]
    assert (update.waba_id, update.phone_number_id) == (waba_id, phone_number_id)


@pytest.mark.parametrize("name", ["unknown_type", "status_unknown_word", "future_field"])
def test_it_keeps_field_and_kind_short_whatever_meta_sends(name: str) -> None:
    body = tree(name)
    long = "İ" * 200
    change = body["entry"][0]["changes"][0]
    change["value"].update(event=long, type=long)
    for item in change["value"].get("messages", []) + change["value"].get("statuses", []):
        item.update(type=long, status="x" * 200)
    change["field"] = long if name == "future_field" else "messages"
    for event in read(body)[0].events:
        words = [getattr(event, slot, "") for slot in ("field", "kind", "type", "status")]
        assert all(len(word or "") <= 64 for word in words)


@pytest.mark.parametrize("value", [[1, {"a": 2}], "soon", 5, 1.5, True])
def test_it_counts_a_field_to_come_whatever_its_value(value: object) -> None:
    body = tree("future_field")
    body["entry"][0]["changes"][0]["value"] = value
    (update,) = read(body)
    assert update.problem is None
    assert update.events == (Unhandled("quantum_updates", "value"),)


@pytest.mark.parametrize(
    "value", [{"history": []}, {"history": [{"metadata": {"phase": 1}, "threads": []}]},
              {"standby": {}}, {"standby": {"messages": []}}],
)  # fmt: skip
def test_it_counts_no_import_and_no_standby_without_updates(value: dict) -> None:
    (update,) = read({"entry": [{"changes": [{"field": "history", "value": value}]}]})
    assert (update.events, update.problem) == ((), None)


def test_it_takes_an_empty_object_for_no_message() -> None:
    body = tree("text")
    value_of(body)["messages"].insert(0, {})
    empty, said = read(body)
    assert empty.events == (Unhandled("messages", "messages:empty"),)
    assert said.events[0].text == "Does it come in another colour?"


@pytest.mark.parametrize("word", ["RINGING", "ACCEPTED", "REJECTED"])
def test_it_counts_the_receipts_of_calls_by_kind(word: str) -> None:
    receipt = {"id": "wacid.A", "type": "call", "status": word, "timestamp": "1767225600"}
    body = tree("calls")
    value_of(body).clear()
    value_of(body)["statuses"] = [receipt]
    assert read(body)[0].events == (Unhandled("calls", f"call:{word.lower()}"),)
