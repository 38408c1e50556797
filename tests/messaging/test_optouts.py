"""Who wants no marketing: the word alone, in any dress, and the last one said counts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import chain, product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.whatsapp import ledger
from connectors.whatsapp.processing import process_batch
from messaging import optouts
from messaging.models import Contact, Message, OptOut, OptOutSource, PendingSend
from messaging.optouts import DEFAULT, Consent, normal_form
from tests.conftest import Cast
from tests.delivery import outgoing
from tests.whatsapp.deliveries import callback, deliver, text

START = 1_790_000_000
PHONE, BSUID = "15550123456", "US.13491208655302741918"
STOP = {"stop": False, "start": True}
SAYING = (OptOutSource.WORD, OptOutSource.PLATFORM, OptOutSource.API)
database = pytest.mark.django_db


def moment(seconds: int = 0) -> datetime:
    return datetime.fromtimestamp(START + seconds, UTC)


def take_in(cast: Cast, field: str = "messages", **value: object) -> None:
    """Take in one callback."""
    deliver(cast.tenant.id, callback(cast.workspace.external_id, field=field, **value))
    process_batch(10)


def says(cast: Cast, words: str, *, at: int = 0, **more: object) -> None:
    """Have somebody write something, so many seconds after the start."""
    wamid = f"wamid.{words}.{at}"
    take_in(cast, messages=[{**text(wamid, words, at=START + at), **more}])


def prefers(cast: Cast, word: str, *, at: int = 0, **who: str) -> None:
    """Have somebody tell WhatsApp what he wants."""
    item = {"category": "marketing_messages", "value": word, "timestamp": START + at}
    take_in(cast, "user_preferences", user_preferences=[item | (who or {"wa_id": PHONE})])


def is_out(cast: Cast) -> bool:
    """Tell whether the tenant's one contact wants no marketing."""
    contact = Contact.objects.get(tenant_id=cast.tenant.id)
    return bool(optouts.opted_out(tenant_id=cast.tenant.id, contact_ids=[contact.id]))


@pytest.mark.parametrize(
    "said",
    [
        "STOP",
        "stop",
        " Stop! ",
        "*stop*",
        "🛑 STOP 🛑\ufe0f",
        "ｓｔｏｐ",
        "Arrêt.",
        "ARRET",
        "Stop-Promotions",
        "إلغاء  الاشتراك",
        "СТОП",
        "रोकें",
        "opt_out",
        "退订。",
    ],
)
def test_it_knows_a_stop_word_in_any_dress(said: str) -> None:
    assert DEFAULT.consent([normal_form(said)]) is False


@pytest.mark.parametrize(
    "said",
    ["stop by at six", "don't stop", "cancel", "no", "", "👍", "stopping", "st op", "x" * 5000],
)
def test_it_takes_nothing_else_for_one(said: str) -> None:
    assert DEFAULT.consent([normal_form(said)]) is None


def test_it_has_no_word_for_both() -> None:
    assert not DEFAULT.stop & DEFAULT.start
    assert "" not in DEFAULT.stop | DEFAULT.start
    assert max(map(len, optouts.STOP_WORDS)) <= optouts.LONGEST_WORD


@given(st.text(max_size=80))
def test_it_comes_to_one_form(said: str) -> None:
    form = normal_form(said)
    assert normal_form(form) == form == normal_form(f" {form}! ") or not form


@database
def test_it_stops_and_starts_again(acme: Cast) -> None:
    says(acme, "Hello")
    assert not is_out(acme)
    says(acme, "Stop!", at=10)
    assert is_out(acme)
    assert OptOut.objects.get().source == OptOutSource.WORD
    says(acme, "start", at=20)
    assert not is_out(acme)


@database
@pytest.mark.parametrize(
    "answer",
    [
        {"type": "button", "button": {"text": "Stop promotions", "payload": "p-1"}},
        {"type": "button", "button": {"text": "No thanks", "payload": "STOP"}},
        {
            "type": "interactive",
            "interactive": {
                "type": "button_reply",
                "button_reply": {"id": "unsubscribe", "title": "Leave me alone"},
            },
        },
    ],
    ids=["text", "payload", "id"],
)
def test_it_takes_a_button_at_its_word(acme: Cast, answer: dict) -> None:
    says(acme, "Hello", **answer)
    assert is_out(acme)


@database
@pytest.mark.parametrize("words", ["stop by at six", "cancel", "start"])
def test_it_opts_nobody_out_for_other_words(acme: Cast, words: str) -> None:
    says(acme, words)
    assert not OptOut.objects.filter(lifted_at=None).exists()


@database
def test_it_hears_neither_history_nor_groups(acme: Cast) -> None:
    thread = {"id": PHONE, "messages": [text("wamid.1", "stop")]}
    take_in(acme, "history", history=[{"metadata": {"phase": 0}, "threads": [thread]}])
    says(acme, "stop", at=5, group_id="Y2FwaV9ncm91cDox")
    assert not OptOut.objects.exists()


@database
def test_it_is_one_tenants_affair(acme: Cast, globex: Cast) -> None:
    says(globex, "Hello")
    says(acme, "stop")
    (contact,) = Contact.objects.filter(tenant_id=acme.tenant.id)
    assert is_out(acme)
    assert not is_out(globex)
    assert not optouts.opted_out(tenant_id=globex.tenant.id, contact_ids=[contact.id])


@database
def test_it_goes_by_a_tenants_own_words(acme: Cast, globex: Cast) -> None:
    optouts.set_words(tenant_id=acme.tenant.id, stop=["No Más"], start=[])
    for cast in (acme, globex):
        says(cast, "NO MAS")
    assert is_out(acme)
    assert not is_out(globex)
    says(acme, "start", at=10)
    assert not is_out(acme)


@database
def test_it_no_longer_goes_by_words_that_were_replaced(acme: Cast) -> None:
    optouts.set_words(tenant_id=acme.tenant.id, stop=["basta"], start=[])
    says(acme, "stop")
    assert not is_out(acme)


@database
def test_it_hears_the_last_of_a_batch(acme: Cast) -> None:
    said = [("stop", 5), ("start", 9), ("stop", 7)]
    take_in(acme, messages=[text(f"wamid.{at}", word, at=START + at) for word, at in said])
    assert not is_out(acme)


@database
def test_a_word_takes_back_no_stop_on_the_platform_between_two_of_a_batch(
    acme: Cast, globex: Cast
) -> None:
    """As if one came after the other: of somebody who said nothing before, too."""
    for cast in (acme, globex):
        person = Contact.objects.create(tenant_id=cast.tenant.id)
        said = [
            Consent(cast.tenant.id, person.id, OptOutSource.WORD, moment(10), is_given=True),
            Consent(cast.tenant.id, person.id, OptOutSource.PLATFORM, moment(15), is_given=False),
            Consent(cast.tenant.id, person.id, OptOutSource.WORD, moment(20), is_given=True),
        ]
        optouts.record(said if cast is acme else said[::2])
    assert is_out(acme)
    assert not is_out(globex)
    assert OptOut.objects.get(tenant_id=acme.tenant.id).source == OptOutSource.PLATFORM


@database
def test_what_is_heard_in_one_batch_counts_as_if_one_came_after_the_other(
    acme: Cast, globex: Cast
) -> None:
    """Whoever says it, in whatever order, and whether or not they said anything before."""
    kinds = [(source, is_given) for source in SAYING for is_given in (False, True)]
    stories = list(product(kinds, repeat=4))
    people = [
        Contact.objects.bulk_create(Contact(tenant_id=cast.tenant.id) for _ in stories)
        for cast in (acme, globex)
    ]
    told, at_once = (
        [
            [
                Consent(one.tenant_id, one.id, source, moment(at), is_given)
                for one, (source, is_given) in zip(mine, said, strict=True)
            ]
            for at, said in enumerate(zip(*stories, strict=True))
        ]
        for mine in people
    )
    for turn in told:
        optouts.record(turn)
    optouts.record(chain.from_iterable(at_once))

    def wishes(mine: list[Contact]) -> list[str | None]:
        rows = OptOut.objects.filter(contact_id__in=[one.id for one in mine], lifted_at=None)
        found = dict(rows.values_list("contact_id", "source"))
        return [found.get(one.id) for one in mine]

    assert wishes(people[1]) == wishes(people[0])
    assert set(wishes(people[0])) == {None, *SAYING}


@database
def test_it_is_not_undone_by_what_comes_late(acme: Cast) -> None:
    says(acme, "stop", at=60)
    says(acme, "start", at=30)
    assert is_out(acme)
    says(acme, "start", at=90)
    says(acme, "stop", at=80)
    assert not is_out(acme)


@database
def test_it_hears_what_the_platform_was_told(acme: Cast, globex: Cast) -> None:
    prefers(acme, "stop", at=10)
    says(globex, "Hello")
    assert is_out(acme)
    assert not is_out(globex)
    assert OptOut.objects.get().source == OptOutSource.PLATFORM
    says(acme, "start", at=20)
    assert is_out(acme)  # Meta would refuse: only he himself can undo it there
    prefers(acme, "resume", at=30)
    assert not is_out(acme)


@database
def test_it_hears_somebody_without_a_number(acme: Cast) -> None:
    prefers(acme, "stop", user_id=BSUID)
    assert is_out(acme)


@database
def test_it_counts_a_repeated_preference_as_a_duplicate(acme: Cast) -> None:
    for word, at in (("stop", 10), ("stop", 10), ("resume", 20), ("stop", 10), ("pause", 30)):
        prefers(acme, word, at=at)

    found = ledger.read(acme.tenant.id, verify=True)
    assert (found.processed, found.duplicates, found.unhandled) == (5, 2, 1)
    assert not is_out(acme)


@database
def test_it_does_as_the_tenant_says_whatever_the_clocks_say(acme: Cast) -> None:
    tomorrow = int((datetime.now(UTC) + timedelta(days=1)).timestamp()) - START
    prefers(acme, "stop", at=tomorrow)
    everybody = set(Contact.objects.values_list("id", flat=True))
    who = {"tenant_id": acme.tenant.id, "contact_ids": everybody}

    assert optouts.opt_in(**who) == everybody
    assert optouts.opt_in(**who) == set()
    assert optouts.opt_out(**who, source=OptOutSource.API) == everybody
    assert is_out(acme)


@database
def test_a_stop_in_the_second_in_which_the_tenant_resumed_marketing_is_heard(acme: Cast) -> None:
    says(acme, "Stop")
    optouts.opt_in(
        tenant_id=acme.tenant.id, contact_ids=Contact.objects.values_list("id", flat=True)
    )
    lifted_at = OptOut.objects.get().lifted_at
    assert lifted_at is not None

    says(acme, "STOP", at=int(lifted_at.timestamp()) - START - 1)
    assert not is_out(acme)
    says(acme, "STOP", at=int(lifted_at.timestamp()) - START)
    assert is_out(acme)


@database
def test_what_a_tenant_enters_has_the_time_of_the_database(acme: Cast, monkeypatch) -> None:
    monkeypatch.setattr("lib.clock._correction", timedelta(hours=1))
    says(acme, "Stop")
    optouts.opt_in(
        tenant_id=acme.tenant.id, contact_ids=Contact.objects.values_list("id", flat=True)
    )

    says(acme, "STOP", at=int((datetime.now(UTC) - timedelta(minutes=30)).timestamp()) - START)
    assert is_out(acme)


@database
def test_it_tells_for_many_at_once(acme: Cast, globex: Cast, django_assert_num_queries) -> None:
    for number in range(3):
        says(acme, "stop" if number else "Hello", at=number, **{"from": f"1555000000{number}"})
    everybody = list(Contact.objects.order_by("created_at", "id").values_list("id", flat=True))

    with django_assert_num_queries(1):
        out = optouts.opted_out(tenant_id=acme.tenant.id, contact_ids=everybody)
    assert len(out) == 2
    assert optouts.opted_out(tenant_id=globex.tenant.id, contact_ids=everybody) == set()


@database
def test_it_takes_back_marketing_that_waits(acme: Cast, globex: Cast) -> None:
    says(acme, "Hello")
    says(globex, "Hello")
    ours, theirs = (Contact.objects.get(tenant_id=cast.tenant.id) for cast in (acme, globex))
    rows = [
        (cast, contact, status, category)
        for cast, contact in ((acme, ours), (globex, theirs))
        for status in ("queued", "sending", "accepted")
        for category in ("MARKETING", "UTILITY")
    ]
    made = [queued(*row) for row in rows]

    says(acme, "stop", at=10)

    cancelled = Message.objects.filter(status="cancelled")
    assert [message.id for message in cancelled] == [made[0].id]
    (message,) = cancelled
    assert not PendingSend.objects.filter(pk=message.pk).exists()
    assert message.delivery["errors"][0]["code"] == 131050
    assert datetime.fromisoformat(message.delivery["cancelled_at"]).tzinfo


def queued(cast: Cast, contact: Contact, status: str, category: str) -> Message:
    """Have a message to somebody in some state."""
    content = {"template": {"category": category}}
    return outgoing.queue(
        cast, moment(), contact=contact, type="template", content=content, status=status
    )
