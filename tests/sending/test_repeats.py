"""The same key: the same request is answered again, another one is a conflict."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone
from threading import Barrier
from uuid import UUID, uuid4

import msgspec
import pytest
from django.db import connection
from hypothesis import given
from hypothesis import strategies as st

from messaging.models import Message
from messaging.sending.checks import shaped
from messaging.sending.queueing import Queued, digest_of, queue, queue_many
from messaging.sending.reading import request_of
from messaging.sending.refusals import SendErrorCode, UnableToSend
from messaging.sending.requests import Recipient, SendRequest, TextContent
from tests.conftest import Cast
from tests.sending.conftest import hear, request_to, template
from tests.sending.test_queueing import WELCOME
from workspaces.acting import as_tenant

WORKSPACE = uuid4()
SALT = b"s" * 32


@pytest.mark.django_db
def test_it_answers_again_though_the_window_has_closed(
    acme: Cast, heard: Message, now: datetime
) -> None:
    asked = request_to(acme, idempotency_key="k")
    first = queue(tenant_id=acme.tenant.id, request=asked, now=now)
    Message.objects.filter(pk=first.message_id).update(status="delivered")

    again = queue(tenant_id=acme.tenant.id, request=asked, now=now + timedelta(days=2))

    assert again == Queued(first.message_id, "delivered", is_repeat=True)


@pytest.mark.django_db
def test_it_keeps_the_keys_of_workspaces_apart(acme: Cast, globex: Cast, now: datetime) -> None:
    queued = []
    for cast in (acme, globex):
        template(cast)
        asked = request_to(cast, WELCOME, idempotency_key="k")
        queued.append(queue(tenant_id=cast.tenant.id, request=asked, now=now))

    assert not any(one.is_repeat for one in queued)
    with pytest.raises(UnableToSend) as info:
        asked = request_to(globex, WELCOME, idempotency_key="k", phone="+27711558396")
        queue(tenant_id=globex.tenant.id, request=asked, now=now)
    assert info.value.code == SendErrorCode.IDEMPOTENCY_CONFLICT


@pytest.mark.django_db
def test_it_finds_repeats_within_one_batch(acme: Cast, now: datetime) -> None:
    template(acme)
    asked = request_to(acme, WELCOME, idempotency_key="k")
    other = msgspec.structs.replace(asked, recipient=Recipient("+27711558396"))

    first, second, third = queue_many(
        tenant_id=acme.tenant.id,
        workspace_id=acme.workspace.id,
        requests=[asked, asked, other],
        now=now,
    )

    assert isinstance(first, Queued)
    assert second == first._replace(is_repeat=True)
    assert isinstance(third, UnableToSend)


@pytest.mark.django_db(transaction=True)
def test_two_at_once_get_the_same_message(acme: Cast, now: datetime) -> None:
    template(acme)
    ready, asked = Barrier(4), request_to(acme, WELCOME, idempotency_key="k")

    def send(_: int) -> Queued:
        try:
            with as_tenant(acme.tenant.id):
                ready.wait(120)
                return queue(tenant_id=acme.tenant.id, request=asked, now=now)
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(send, range(4)))

    assert {answer.message_id for answer in answers} == {Message.objects.get().id}
    assert Counter(answer.is_repeat for answer in answers) == {False: 1, True: 3}


@pytest.mark.django_db(transaction=True)
def test_whoever_comes_first_decides_among_different_requests(acme: Cast, now: datetime) -> None:
    hear(acme, now)
    ready = Barrier(2)

    def send(text: str) -> str:
        asked = request_to(acme, TextContent(text), idempotency_key="k")
        try:
            with as_tenant(acme.tenant.id):
                ready.wait(120)
                return queue(tenant_id=acme.tenant.id, request=asked, now=now).status
        except UnableToSend as refusal:
            return refusal.code
        finally:
            connection.close()

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(send, ("one", "two"))) == ["IDEMPOTENCY_CONFLICT", "queued"]


def digest(**given: object) -> bytes:
    whole = {"workspace_id": str(WORKSPACE), "recipient_phone": "+15550123456", **given}
    return digest_of(shaped(request_of(whole)), SALT)


@given(st.integers(0, 3), st.sampled_from(["+1 555 012 3456", "+1(555)0123456", "+15550123456"]))
def test_another_spelling_is_the_same_request(hours: int, phone: str) -> None:
    at = datetime(2026, 3, 1, 12, tzinfo=UTC)
    elsewhere = at.astimezone(timezone(timedelta(hours=hours)))

    one = digest(text="Hi", scheduled_at=at.isoformat(), idempotency_key="a")
    other = digest(
        text="Hi",
        recipient_phone=phone,
        scheduled_at=elsewhere.isoformat(),
        media=None,
        idempotency_key="b",
    )

    assert one == other


@given(st.dictionaries(st.text("ab", min_size=1), st.text("xy"), min_size=1), st.randoms())
def test_the_order_of_names_makes_no_other_request(named: dict, random) -> None:
    shuffled = list(named.items())
    random.shuffle(shuffled)

    one, other = (
        digest(template_name="t", template_parameters={"named": names})
        for names in (named, dict(shuffled))
    )

    assert one == other


def test_any_difference_makes_another_request() -> None:
    requests: list[dict] = [
        {"text": "Hi"},
        {"text": "Ho"},
        {"text": "Hi", "recipient_phone": "+15550123457"},
        {"text": "Hi", "preview_url": True},
        {"text": "Hi", "reply_to": str(UUID(int=1))},
        {"text": "Hi", "expires_at": "2026-03-01T00:00:00Z"},
        {"template_name": "Hi"},
        {"template_name": "Hi", "template_params": ["a"]},
        {"template_name": "Hi", "language": "en"},
        {"media": {"kind": "image", "id": "1"}},
        {"media": {"kind": "video", "id": "1"}},
    ]

    assert len({digest(**given) for given in requests}) == len(requests)


def test_its_digest_needs_the_tenants_salt() -> None:
    draft = shaped(
        SendRequest(
            workspace_id=WORKSPACE, recipient=Recipient("+15550123456"), content=TextContent("a")
        )
    )

    assert digest_of(draft, SALT) != digest_of(draft, b"t" * 32)
