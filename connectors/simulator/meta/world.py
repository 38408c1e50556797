"""What the simulated Meta knows: apps, accounts, numbers, templates, tokens. One JSON document, and
an index of it.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

Json: TypeAlias = dict[str, object]
SCOPES = ("whatsapp_business_messaging", "whatsapp_business_management")


class App(msgspec.Struct, kw_only=True):
    """A Meta app: its secret signs callbacks, which go to ``callback_url`` (empty: nowhere)."""

    id: str
    secret: str
    name: str = "SIGMA"
    callback_url: str = ""
    verify_token: str = ""
    requires_proof: bool = False


class Token(msgspec.Struct, kw_only=True):
    """An access token; without ``accounts`` it may use every one. Times are Unix seconds."""

    token: str
    app_id: str
    accounts: list[str] = []
    scopes: list[str] = msgspec.field(default_factory=lambda: list(SCOPES))
    expires_at: float | None = None
    is_revoked: bool = False


class PhoneNumber(msgspec.Struct, kw_only=True):
    """A business phone number. ``id`` is what Meta calls the phone number ID.

    ``messages_per_second``: ``None`` follows ``throughput`` (STANDARD 80, HIGH 1,000).
    ``allowed_recipients`` makes it a test number: digits that may be written to.
    """

    id: str
    display_phone_number: str = "+1 555-010-0123"
    verified_name: str = "SIGMA Analytics"
    status: str = "CONNECTED"
    quality_rating: str = "GREEN"
    throughput: str = "STANDARD"
    messages_per_second: float | None = None
    name_status: str = "APPROVED"
    code_verification_status: str = "VERIFIED"
    account_mode: str = "LIVE"
    is_official_business_account: bool = False
    is_on_biz_app: bool = False
    pin: str = "123456"
    allowed_recipients: list[str] | None = None
    callback_url: str = ""
    verify_token: str = ""
    # What "Business profile" shows; Meta has no empty line of business.
    profile: Json = msgspec.field(default_factory=lambda: {"vertical": "UNDEFINED"})
    # Ice breakers and commands ("Conversational components").
    automation: Json = {}
    # Prefilled messages by the code of their short link, and people by number or user id.
    short_links: dict[str, str] = {}
    blocked: list[str] = []

    @property
    def digits(self) -> str:
        """The number itself, digits only."""
        return "".join(filter(str.isdigit, self.display_phone_number))


class SimulatedTemplate(msgspec.Struct, kw_only=True):
    """One template in one language. ``edited_at`` are the times of edits while approved."""

    id: str
    name: str
    language: str
    category: str
    components: list[Json]
    status: str = "APPROVED"
    parameter_format: str = "POSITIONAL"
    quality: str = "UNKNOWN"
    rejected_reason: str = "NONE"
    previous_category: str = ""
    message_send_ttl_seconds: int | None = None
    edited_at: list[float] = []


class Subscription(msgspec.Struct, kw_only=True):
    """An app that gets an account's callbacks, at its own address or at ``callback_url``."""

    app_id: str
    callback_url: str = ""
    verify_token: str = ""


class BusinessAccount(msgspec.Struct, kw_only=True):
    """A WhatsApp Business Account (WABA). ``messaging_limit`` is its portfolio's."""

    id: str
    name: str = "SIGMA Analytics"
    business_id: str = "506914307656634"
    messaging_limit: str = "TIER_UNLIMITED"
    # Whether its bill is unpaid: nothing is sent for it.
    is_unpaid: bool = False
    numbers: list[PhoneNumber] = []
    templates: list[SimulatedTemplate] = []
    subscriptions: list[Subscription] = []
    # Names that were deleted while approved, and when: blocked for 30 days.
    deleted: dict[str, float] = {}


class SimulatorOptions(msgspec.Struct, kw_only=True):
    """How it behaves. Shares are percent; delays are milliseconds of virtual time.

    ``status_delays_ms`` are the times from acceptance to sent, to delivered and to read.
    ``batch`` is the most updates in one callback; Meta's own mostly hold one, and clients that
    read the first alone would lose the others. ``window`` says how a message outside the
    24-hour window fails: ``webhook`` (accepted, then failed, as Meta does today), ``answer``
    (refused at once) or ``off`` (not at all).
    """

    answer_delay_ms: float = 0
    status_delays_ms: tuple[float, float, float] = (50, 150, 300)
    duplicates: float = 0
    disorder: float = 0
    loss: float = 0
    bad_signatures: float = 0
    batch: int = 1
    is_paused: bool = False
    seed: int = 0
    window: str = "webhook"
    review_delay_ms: float = 2000
    blocks_us_marketing: bool = False
    obeys_magic_numbers: bool = True
    # What people answer to every message that they have read; empty: nothing.
    auto_reply: str = ""


class World(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Everything that a configuration file says."""

    apps: list[App] = []
    accounts: list[BusinessAccount] = []
    tokens: list[Token] = []
    options: SimulatorOptions = msgspec.field(default_factory=SimulatorOptions)


class UnreadableWorld(Exception):
    """The simulator's configuration is not what it should be."""


def read(document: bytes) -> World:
    """Return the world that a JSON document describes.

    Raises:
        Unreadable: not JSON, or with a field that is unknown, missing or of the wrong type.
    """
    try:
        return msgspec.json.decode(document, type=World)
    except msgspec.DecodeError as error:
        raise UnreadableWorld(f"The simulator's configuration cannot be read: {error}") from error


def written(world: World) -> bytes:
    """Return a world as a JSON document, secrets included."""
    return msgspec.json.format(msgspec.json.encode(world), indent=2)


def single(
    *,
    app_secret: str,
    access_token: str,
    waba_id: str,
    phone_number_id: str,
    verify_token: str = "",
    callback_url: str = "",
    app_id: str = "",
    templates: list[SimulatedTemplate] | None = None,
) -> World:
    """Return a world of one app with one account, one number and one token."""
    app_id = app_id or "7" + waba_id[1:]
    return World(
        apps=[
            App(id=app_id, secret=app_secret, callback_url=callback_url, verify_token=verify_token)
        ],
        accounts=[
            BusinessAccount(
                id=waba_id,
                numbers=[PhoneNumber(id=phone_number_id)],
                templates=templates or [],
                subscriptions=[Subscription(app_id=app_id)],
            )
        ],
        tokens=[Token(token=access_token, app_id=app_id, accounts=[waba_id])],
    )


def joined(*worlds: World) -> World:
    """Return one world of several; the options are those of the first."""
    return World(
        apps=[app for world in worlds for app in world.apps],
        accounts=[account for world in worlds for account in world.accounts],
        tokens=[token for world in worlds for token in world.tokens],
        options=worlds[0].options if worlds else SimulatorOptions(),
    )


class Registry:
    """The world's objects by their ids; call :meth:`index` after adding or removing any."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.index()

    def index(self) -> None:
        """Look at the world anew."""
        world = self.world
        self.apps: dict[str, App] = {app.id: app for app in world.apps}
        self.tokens: dict[str, Token] = {token.token: token for token in world.tokens}
        self.accounts: dict[str, BusinessAccount] = {
            account.id: account for account in world.accounts
        }
        self.numbers: dict[str, tuple[BusinessAccount, PhoneNumber]] = {
            number.id: (account, number) for account in world.accounts for number in account.numbers
        }
        self.templates: dict[str, tuple[BusinessAccount, SimulatedTemplate]] = {
            template.id: (account, template)
            for account in world.accounts
            for template in account.templates
        }
        self._translations = {
            (account.id, template.name, template.language): template
            for account, template in self.templates.values()
        }

    def template(self, waba_id: str, name: str, language: str) -> SimulatedTemplate | None:
        """Return a template in one language."""
        return self._translations.get((waba_id, name, language))
