"""The Cloud API behind the Channel port: one phone number, and the account it belongs to.

Each method asks the Graph API and returns what its answer says as facts of the port. No error of it
holds a token or an address with one.

https://developers.facebook.com/docs/graph-api/reference/whats-app-business-account-to-number-current-status
https://developers.facebook.com/docs/whatsapp/cloud-api/health-status
https://developers.facebook.com/docs/graph-api/reference/whats-app-business-account/message_templates
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

import httpx
import msgspec
from django.conf import settings

from connectors.whatsapp import media
from connectors.whatsapp.graph import Graph, downloads
from connectors.whatsapp.wire.errors import (
    BAD_TOKEN,
    Json,
    block_errors_of,
    clean,
    error_of,
    integer,
    media_error_of,
    member,
    members,
    text,
)
from lib.masking import word
from lib.ttl import TtlCache
from workspaces.channel_errors import (
    ChannelError,
    MediaGone,
    NotConfigured,
    OutcomeUnknown,
    Reach,
    Rejected,
    Unavailable,
)
from workspaces.channel_facts import (
    AcceptedSend,
    Health,
    NumberFacts,
    PlatformPerson,
    TemplateDraft,
    TemplateFacts,
    TokenFacts,
)
from workspaces.channels import Credentials, OutgoingFile

META_ID = re.compile(r"[A-Za-z0-9_-]{1,256}")
ACCOUNT_ID = re.compile("[0-9]{5,32}")
# Used as the next path just as it came; it may have a query.
UPLOAD = re.compile(r"upload:[!-\"$-~]{1,4096}")
# How often a file that breaks off is gone on with at once.
PARTS = 3
# Digests of tokens, and the app that each is of.
_apps: TtlCache[bytes, str] = TtlCache(seconds=3600, size=1000)
UNKNOWN_FIELD = 100
BASIC_FIELDS = "id,display_phone_number,verified_name,status,quality_rating,throughput"
NUMBER_FIELDS = (
    f"{BASIC_FIELDS},name_status,code_verification_status,account_mode,platform_type,"
    "whatsapp_business_manager_messaging_limit,is_on_biz_app,health_status"
)
OWNER_FIELDS = "owner_business_info{id}"
# The first is what sending needs, the second what templates and numbers need.
MESSAGING, MANAGEMENT = "whatsapp_business_messaging", "whatsapp_business_management"
TEMPLATES = "message_templates"
TEMPLATE_FIELDS = (
    "id,name,language,status,category,sub_category,parameter_format,components,quality_score,"
    "rejected_reason,previous_category,message_send_ttl_seconds"
)
TEMPLATES_PER_PAGE = "100"
# Meta allows 6,000 templates in an account; more pages than this go round in a circle.
MAX_PAGES = 200
BLOCKED = "block_users"
BLOCKED_PER_PAGE = "100"
# Meta blocks 64,000 people for a number, and may give fewer on a page than are asked for.
MAX_BLOCKED_PAGES = 3_000
MAX_ID, MAX_PHONE, MAX_WORD, MAX_PROBLEM = 512, 20, 32, 500


class CloudApiChannel:
    """One phone number on Meta's Cloud API."""

    def __init__(self, *, external_id: str, account_id: str, credentials: Credentials) -> None:
        self._phone_number_id, self._waba_id = external_id, account_id
        self._credentials = credentials
        self._graph = Graph(credentials, settings.SIGMA_GRAPH_URL)

    async def send(self, request: bytes) -> AcceptedSend:
        """Send one message, the same bytes at every attempt.

        Raises:
            workspaces.channel_errors.Throttled: nothing was sent.
            workspaces.channel_errors.Unavailable: nothing was sent.
            workspaces.channel_errors.Rejected: refused for good.
            workspaces.channel_errors.OutcomeUnknown: it may have been sent.
        """
        return _accepted_in(await self._post(request))

    async def mark_read(self, platform_message_id: str, *, typing: bool) -> None:
        """Mark a person's message as read, and show them that an answer is being typed.

        https://developers.facebook.com/docs/whatsapp/cloud-api/typing-indicators

        Raises:
            workspaces.channel_errors.ChannelError: refused, or no proper answer; harmless twice.
        """
        body: Json = {
            "messaging_product": "whatsapp",
            "status": "read",
            "message_id": platform_message_id,
        }
        if typing:
            body["typing_indicator"] = {"type": "text"}
        answer = await self._post(msgspec.json.encode(body))
        if answer.get("success") is not True:
            raise Rejected(0, "Meta did not mark the message as read and does not say why.")

    def open_media(self, platform_media_id: str) -> media.MediaDownload:
        """Open a file that a message carries.

        Raises:
            workspaces.channel_errors.MediaGone: Meta has no such file, or our token may not see it.
            workspaces.channel_errors.Throttled: too many requests.
            workspaces.channel_errors.Unavailable: no proper answer.
            workspaces.channel_errors.Rejected: anything else that Meta refuses.
        """
        if not META_ID.fullmatch(platform_media_id):
            raise MediaGone(404, "The message names no file of Meta's.")
        answer = self._graph.ask(platform_media_id, {"phone_number_id": self._phone_number_id})
        if answer.status != 200:
            raise media_error_of(answer)
        url = (answer.json or {}).get("url")
        if not isinstance(url, str):
            raise Unavailable("Meta named no address for the file.")
        # A number, though Meta's pages show a text.
        size = str((answer.json or {}).get("file_size", ""))
        said = int(size) if size.isdecimal() and size.isascii() else None
        token = self._credentials.access_token
        try:
            return media.download(
                downloads(), url, graph_url=self._graph.url, token=token, said=said
            )
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise Unavailable(f"Meta cannot be reached ({type(error).__name__}).") from None

    def upload_media(self, file: OutgoingFile) -> str:
        """Give Meta a file to send; return what it is called there, for 30 days.

        https://developers.facebook.com/docs/whatsapp/cloud-api/reference/media (Upload media)

        Raises:
            workspaces.channel_errors.ChannelError: refused, or no proper answer; harmless twice.
        """
        node = _meta_id(self._phone_number_id, "phone number")
        fields = {"messaging_product": "whatsapp", "type": file.mime_type}
        media_id = text(self._graph.upload(f"{node}/media", fields, file), "id")
        if not META_ID.fullmatch(media_id):
            raise OutcomeUnknown("Meta's answer names no file.")
        return media_id

    def open_example(self, file: OutgoingFile) -> str:
        """Begin an upload to the app that the access token is of; return Meta's name of it.

        https://developers.facebook.com/docs/graph-api/guides/upload

        Raises:
            workspaces.channel_errors.NotConfigured: Meta does not say which app that is.
            workspaces.channel_errors.ChannelError: refused, or no proper answer; harmless twice.
        """
        facts = {
            "file_name": file.filename,
            "file_length": str(file.size),
            "file_type": file.mime_type,
        }
        app_id = self._app_id()
        try:
            name = text(self._graph.begin(f"{app_id}/uploads", facts), "id")
        except Rejected as refused:
            raise _without_role(refused) from None
        if not UPLOAD.fullmatch(name):
            raise OutcomeUnknown("Meta's answer names no upload.")
        return name

    def send_example(self, upload: str, file: OutgoingFile, *, seconds: float) -> str:
        """Give Meta what it does not have yet of a file; return its handle. Where the connection
        breaks it goes on from what Meta has, twice.

        Raises:
            workspaces.channel_errors.ChannelError: refused, or no proper answer; bytes may be
                there.
        """
        end = time.monotonic() + seconds
        lost: ChannelError = Unavailable("Meta takes the file too slowly.")
        for _ in range(PARTS):
            offset = text(self._graph.get(upload), "file_offset")
            if not offset.isdecimal() or int(offset) > file.size:
                raise MediaGone(0, "Meta does not say how much of the file it has.")
            left = end - time.monotonic()
            if left <= 0:
                break
            try:
                answer = self._graph.send_rest(upload, file, int(offset), seconds=left)
            except (OutcomeUnknown, Unavailable) as error:
                lost = error
                continue
            handle = text(answer, "h")
            if not handle:
                raise MediaGone(0, "Meta has the file and names no handle of it.")
            return handle
        raise Unavailable(lost.message, code=lost.code, details=lost.details)

    def _app_id(self) -> str:
        """Return the app that the access token is of.

        Raises:
            workspaces.channel_errors.NotConfigured: Meta does not say.
            workspaces.channel_errors.ChannelError: no proper answer.
        """
        key = hashlib.sha256(self._credentials.access_token.encode()).digest()
        known = _apps.get(key)
        if known is not None:
            return known
        facts = self.token()
        if not facts.is_valid:
            raise Rejected(BAD_TOKEN, facts.problem, reach=Reach.TENANT, stops=True)
        if not META_ID.fullmatch(facts.app_id):
            raise NotConfigured("Meta does not say which app the access token is of.")
        return _apps.put(key, facts.app_id)

    def set_blocked(
        self, people: Sequence[PlatformPerson], *, blocked: bool
    ) -> list[ChannelError | None]:
        """Block people, or unblock them; return why not, for each.

        https://developers.facebook.com/documentation/business-messaging/whatsapp/block-users

        Raises:
            workspaces.channel_errors.ChannelError: refused for all, or no proper answer.
        """
        edge = f"{_meta_id(self._phone_number_id, 'phone number')}/{BLOCKED}"
        body: Json = {"messaging_product": "whatsapp", BLOCKED: [_user_of(p) for p in people]}
        answer = self._graph.answer_to("POST" if blocked else "DELETE", edge, body)
        named = block_errors_of(answer, done="added_users" if blocked else "removed_users")
        if named is None:
            raise error_of(answer, changes=True)
        found = {_bare(given): error for given, error in named.items()}
        silent = OutcomeUnknown("Meta's answer does not name the person.")
        return [found.get(person.phone or person.user_id, silent) for person in people]

    def blocked(self) -> Iterator[PlatformPerson]:
        """Yield whom Meta says the number has blocked.

        Raises:
            workspaces.channel_errors.ChannelError: refused, or no proper answer (on its page).
        """
        edge = f"{_meta_id(self._phone_number_id, 'phone number')}/{BLOCKED}"
        for page in self._pages(edge, {"limit": BLOCKED_PER_PAGE}, most=MAX_BLOCKED_PAGES):
            for node in members(page, "data"):
                yield PlatformPerson(
                    _bare(text(node, "wa_id")), text(node, "user_id"), text(node, "parent_user_id")
                )

    def health(self) -> Health:
        """Ask Meta for the number itself, which needs valid credentials and nothing else."""
        try:
            self._graph.get(self._phone_number_id, {"fields": "id"})
        except ChannelError as error:
            return Health(False, str(error))
        return Health(True, "Meta accepts the access token.")

    def number(self) -> NumberFacts:
        """Ask Meta about the number, and which portfolio owns its account.

        Raises:
            workspaces.channel_errors.ChannelError: refused, or no proper answer.
        """
        try:
            node = self._graph.get(self._phone_number_id, {"fields": NUMBER_FIELDS})
        except Rejected as refused:
            if refused.code != UNKNOWN_FIELD or refused.stops:
                raise
            # Some version of the API does not have one of the fields, and then gives none.
            node = self._graph.get(self._phone_number_id, {"fields": BASIC_FIELDS})
        return _number_in(node, self._portfolio_id())

    def token(self) -> TokenFacts:
        """Ask Meta about the access token, as the token itself: it needs nobody's permission.

        Raises:
            workspaces.channel_errors.ChannelError: no proper answer; an invalid token is one.
        """
        answer = self._graph.ask("debug_token", {"input_token": self._credentials.access_token})
        if answer.status == 200:
            return _token_in(answer.json or {}, self._waba_id)
        error = error_of(answer, changes=False)
        if isinstance(error, Rejected) and error.code == BAD_TOKEN:
            return TokenFacts(is_valid=False, problem=f"{error} {error.details}".strip())
        raise error

    def fetch_templates(self, *, name: str | None = None) -> Iterator[TemplateFacts]:
        """Return the templates of the number's account, page after page; only those called ``name``
        if given.

        Raises:
            workspaces.channel_errors.NotConfigured: the workspace has no WABA id.
            workspaces.channel_errors.ChannelError: refused, or no proper answer (on its page).
        """
        return self._template_pages(self._account(), name)

    def create_template(self, draft: TemplateDraft) -> TemplateFacts:
        """Submit a new template for review.

        Raises:
            workspaces.channel_errors.NotConfigured: the workspace has no WABA id.
            workspaces.channel_errors.ChannelError: refused, or no proper answer.
        """
        body: Json = {
            "name": draft.name,
            "language": draft.language,
            "category": draft.category,
            "parameter_format": draft.parameter_format,
            **_contents_of(draft),
        }
        answer = self._graph.post(f"{self._account()}/{TEMPLATES}", body)
        template_id = text(answer, "id")
        if not template_id:
            raise OutcomeUnknown("Meta's answer names no template.")
        return TemplateFacts(
            platform_template_id=template_id,
            name=draft.name,
            language=draft.language,
            status=text(answer, "status"),
            category=text(answer, "category") or draft.category,
            parameter_format=draft.parameter_format,
            components=draft.components,
            ttl_seconds=draft.ttl_seconds,
        )

    def edit_template(self, platform_template_id: str, draft: TemplateDraft) -> None:
        """Replace a template's components; Meta lets nobody change its name or language.

        Raises:
            workspaces.channel_errors.ChannelError: refused, or no proper answer.
        """
        node = _meta_id(platform_template_id, "template")
        _check_success(self._graph.post(node, _contents_of(draft)))

    def delete_template(self, name: str, *, platform_template_id: str | None = None) -> None:
        """Delete a template in all its languages, or in the one of ``platform_template_id``.

        Raises:
            workspaces.channel_errors.NotConfigured: the workspace has no WABA id.
            workspaces.channel_errors.ChannelError: refused, or no proper answer.
        """
        one = {"hsm_id": platform_template_id} if platform_template_id else {}
        _check_success(self._graph.delete(f"{self._account()}/{TEMPLATES}", {"name": name} | one))

    async def _post(self, request: bytes) -> Json:
        node = _meta_id(self._phone_number_id, "phone number")
        return await self._graph.send(f"{node}/messages", request)

    def _account(self) -> str:
        if not self._waba_id:
            raise NotConfigured("The workspace has no WABA ID; add it in the admin.")
        return _meta_id(self._waba_id, "WABA")

    def _portfolio_id(self) -> str:
        """Return the portfolio whose limit the number shares; the account where Meta is silent."""
        if not self._waba_id:
            return ""
        try:
            node = self._graph.get(self._account(), {"fields": OWNER_FIELDS})
        except Rejected:
            return self._waba_id
        return text(member(node, "owner_business_info"), "id") or self._waba_id

    def _template_pages(self, waba_id: str, name: str | None) -> Iterator[TemplateFacts]:
        parameters = {"fields": TEMPLATE_FIELDS, "limit": TEMPLATES_PER_PAGE}
        parameters |= {"name": name} if name else {}
        for page in self._pages(f"{waba_id}/{TEMPLATES}", parameters, most=MAX_PAGES):
            found = (_template_in(node) for node in members(page, "data"))
            yield from (facts for facts in found if facts and name in (None, facts.name))

    def _pages(self, edge: str, parameters: dict[str, str], *, most: int) -> Iterator[Json]:
        """Yield the pages of an edge; Meta's ``next`` address is not followed, since it holds the
        token: the cursor is enough.
        """
        for _ in range(most):
            page = self._graph.get(edge, parameters)
            yield page
            paging = member(page, "paging")
            after = text(member(paging, "cursors"), "after")
            if not paging.get("next") or not after:
                return
            if parameters.get("after") == after:
                break
            parameters["after"] = after
        raise Unavailable("Meta's list does not end.")


def _without_role(refused: Rejected) -> Rejected:
    """Return a refusal of an upload with what it comes from most often, and the remedy."""
    if not refused.stops or refused.code == BAD_TOKEN:
        return refused
    return Rejected(
        refused.code,
        "Meta does not let the access token upload files to its app: give the person or system "
        f"user that it is of the role Admin or Developer there. {refused.message}",
        reach=refused.reach,
        stops=True,
        details=refused.details,
        trace_id=refused.trace_id,
    )


def _meta_id(value: str, what: str) -> str:
    """Return an id that can be part of an address.

    Raises:
        workspaces.channel_errors.NotConfigured: it is none of Meta's.
    """
    if not META_ID.fullmatch(value):
        raise NotConfigured(f"The {what} ID is not one of Meta's; correct the workspace.")
    return value


def _user_of(person: PlatformPerson) -> Json:
    return {"user": f"+{person.phone}"} if person.phone else {"user_id": person.user_id}


def _bare(address: str) -> str:
    """Return a number's digits, however Meta writes it; a user id as it is."""
    return address if "." in address else "".join(c for c in address if c in "0123456789")


def _accepted_in(answer: Json) -> AcceptedSend:
    """Return what a successful answer to a send says.

    Raises:
        workspaces.channel_errors.OutcomeUnknown: it names no message.
    """
    sent = next(iter(members(answer, "messages")), {})
    message_id = text(sent, "id")
    if not message_id or len(message_id) > MAX_ID:
        raise OutcomeUnknown("Meta's answer names no message.")
    to = next(iter(members(answer, "contacts")), {})
    phone = text(to, "wa_id").removeprefix("+")
    is_phone = phone.isascii() and phone.isdecimal() and len(phone) <= MAX_PHONE
    return AcceptedSend(message_id, phone if is_phone else None, word(sent.get("message_status")))


def _number_in(node: Json, portfolio_id: str) -> NumberFacts:
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


def _account_in(health: Json) -> str:
    """Return the account among the parties whose health Meta states beside the number's."""
    for entity in members(health, "entities"):
        account_id = text(entity, "id")
        if text(entity, "entity_type") == "WABA" and ACCOUNT_ID.fullmatch(account_id):
            return account_id
    return ""


def _problem_in(health: Json) -> str:
    problems: list[str] = []
    for entity in members(health, "entities"):
        kind = _word(entity, "entity_type")
        for error in members(entity, "errors"):
            solution = text(error, "possible_solution")
            code = integer(error, "error_code")
            problems.append(f"{kind} {code}: {text(error, 'error_description')} {solution}".strip())
        hints = entity.get("additional_info")
        if isinstance(hints, list):
            problems += [f"{kind}: {hint}" for hint in hints if isinstance(hint, str)]
    return " ".join(clean(problem) for problem in problems)[:MAX_PROBLEM]


def _token_in(node: Json, account_id: str) -> TokenFacts:
    """Return what a debugged token says, and what it lacks for the account ``account_id``."""
    data = member(node, "data")
    scopes = data.get("scopes")
    names = tuple(s[:64] for s in scopes if isinstance(s, str)) if isinstance(scopes, list) else ()
    granted = _granted_in(data)
    is_valid = data.get("is_valid") is True
    return TokenFacts(
        is_valid=is_valid,
        expires_at=_moment(integer(data, "expires_at")),
        scopes=names,
        account_ids=granted,
        app_id=text(data, "app_id")[:64],
        problem=_lack_of(names, granted, account_id) if is_valid else _invalidity_in(data),
    )


def _granted_in(data: Json) -> tuple[str, ...]:
    """Return the accounts a token was granted; none where it was not narrowed down."""
    found: dict[str, None] = {}
    for grant in members(data, "granular_scopes"):
        targets = grant.get("target_ids")
        if grant.get("scope") in (MESSAGING, MANAGEMENT) and isinstance(targets, list):
            found.update({str(target)[:64]: None for target in targets})
    return tuple(found)


def _lack_of(scopes: tuple[str, ...], granted: tuple[str, ...], account_id: str) -> str:
    missing = [scope for scope in (MESSAGING, MANAGEMENT) if scope not in scopes]
    if missing:
        return f"The token lacks the permission {' and '.join(missing)}."
    if granted and account_id and account_id not in granted:
        return f"The token was not granted the account {account_id}."
    return ""


def _invalidity_in(data: Json) -> str:
    reason = clean(text(member(data, "error"), "message"))
    return f"Meta says that the token is not valid. {reason}".strip()


def _moment(seconds: int | None) -> datetime | None:
    """Return a time Meta gives in seconds; 0 is its word for never."""
    if not seconds:
        return None
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        return None


def _template_in(node: Json) -> TemplateFacts | None:
    template_id, name, language = (text(node, key) for key in ("id", "name", "language"))
    if not (template_id and name and language):
        return None
    return TemplateFacts(
        platform_template_id=template_id,
        name=name,
        language=language,
        status=text(node, "status"),
        category=text(node, "category"),
        sub_category=text(node, "sub_category"),
        parameter_format=text(node, "parameter_format").upper() or "POSITIONAL",
        components=tuple(members(node, "components")),
        quality=text(member(node, "quality_score"), "score"),
        rejected_reason=text(node, "rejected_reason"),
        previous_category=text(node, "previous_category"),
        ttl_seconds=integer(node, "message_send_ttl_seconds"),
    )


def _contents_of(draft: TemplateDraft) -> Json:
    ttl = {} if draft.ttl_seconds is None else {"message_send_ttl_seconds": draft.ttl_seconds}
    return {"components": list(draft.components), **ttl}


def _check_success(answer: Json) -> None:
    if answer.get("success") is not True:
        raise Rejected(0, "Meta did not do it and does not say why.")


def _word(node: Json, key: str) -> str:
    return text(node, key)[:MAX_WORD]
