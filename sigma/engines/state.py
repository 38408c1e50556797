"""Where the embedded engines listen, kept between starts, and which engines to use here."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Urls:
    """The two engines as URLs, and the Graph API where it is simulated; ``""``: not known."""

    database_url: str = ""
    redis_url: str = ""
    graph_url: str = ""


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
    )


def read(folder: Path) -> Urls:
    """Return what the last start wrote, or empty URLs."""
    try:
        known = json.loads((folder / "engines.json").read_text(encoding="utf-8"))
        return Urls(
            *(str(known.get(name, "")) for name in ("database_url", "redis_url", "graph_url"))
        )
    except (FileNotFoundError, ValueError, AttributeError):
        return Urls()


def remember(folder: Path, *, database_url: str = "", redis_url: str = "") -> None:
    """Keep the given URLs for the next start and for commands beside the running system."""
    urls = read(folder)
    if database_url:
        urls = replace(urls, database_url=database_url)
    if redis_url:
        urls = replace(urls, redis_url=redis_url)
    write_private(folder / "engines.json", json.dumps(asdict(urls), indent=2) + "\n")


def remember_graph(folder: Path, graph_url: str) -> None:
    """Keep where the Graph API is simulated, for commands beside the running system; ``""``: it is
    not.
    """
    urls = replace(read(folder), graph_url=graph_url)
    write_private(folder / "engines.json", json.dumps(asdict(urls), indent=2) + "\n")


def write_private(path: Path, text: str) -> None:
    """Replace ``path`` by ``text`` in one step, readable by its owner only."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    scratch.replace(path)
