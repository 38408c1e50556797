"""Where the embedded engines listen, kept between starts, and which engines to use here."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

from lib.files import write_private

REPOSITORY = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Urls:
    """The two engines as URLs, the Graph API where it is simulated, and where ``make up`` serves;
    ``""``: not known.
    """

    # As the application's role; the owner, who migrates, has the other one.
    database_url: str = ""
    redis_url: str = ""
    graph_url: str = ""
    base_url: str = ""
    sender_url: str = ""
    owner_url: str = ""


# Reserved by RFC 2606: it resolves nowhere, so the first connection fails with this name in its
# message.
NOWHERE = Urls(
    "postgresql://sigma@set-database_url-or-run-make-up.invalid/sigma",
    "redis://set-redis_url-or-run-make-up.invalid/0",
)


def home(env: Mapping[str, str]) -> Path:
    """Return the folder of generated data: ``SIGMA_HOME``, by default ``.sigma`` here."""
    return Path(env.get("SIGMA_HOME", "").strip() or REPOSITORY / ".sigma").absolute()


def outside(env: Mapping[str, str]) -> Urls:
    """Return the engines that ``DATABASE_URL`` and ``REDIS_URL`` name."""
    return Urls(env.get("DATABASE_URL", "").strip(), env.get("REDIS_URL", "").strip())


def resolve(env: Mapping[str, str]) -> Urls:
    """Return the engines to use: the environment's, else the embedded ones of the last ``make up``.

    Where there is neither, the URL leads to a host that does not exist and whose name is the
    advice. So commands that need no engine (``check``, ``makemigrations``) work, and all others
    fail with that one line.
    """
    given, kept = outside(env), read(home(env))
    return Urls(
        given.database_url or kept.database_url or NOWHERE.database_url,
        given.redis_url or kept.redis_url or NOWHERE.redis_url,
        kept.graph_url,
        kept.base_url,
        kept.sender_url,
        "" if given.database_url else kept.owner_url,
    )


def read(folder: Path) -> Urls:
    """Return what the last start wrote, or empty URLs."""
    try:
        known = json.loads((folder / "engines.json").read_text(encoding="utf-8"))
        return Urls(**{field.name: str(known.get(field.name, "")) for field in fields(Urls)})
    except (FileNotFoundError, ValueError, AttributeError):
        return Urls()


def remember(folder: Path, **urls: str) -> None:
    """Keep the given URLs, named as in :class:`Urls`, for the next start and for commands beside
    the running system.
    """
    known = replace(read(folder), **urls)
    write_private(folder / "engines.json", json.dumps(asdict(known), indent=2) + "\n")


@contextmanager
def starting(folder: Path) -> Iterator[None]:
    """Let :func:`is_starting` be true inside the block."""
    file = folder / "starting"
    write_private(file, f"{os.getpid()}\n")
    try:
        yield
    finally:
        file.unlink(missing_ok=True)


def is_starting(folder: Path) -> bool:
    """Whether a ``make up`` on this folder has not finished its start; a killed one is none."""
    try:
        os.kill(int((folder / "starting").read_text(encoding="ascii")), 0)
    except (OSError, ValueError):
        return False
    return True
