"""This system as ``make up`` starts it, and the same receiver without a store."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import LiteralString

import psycopg
from psycopg import sql

from benchmarks.engines import Engines
from benchmarks.load import Spec
from benchmarks.processes import Server, answers
from sigma import door, programs
from workspaces import demo_facts
from workspaces.demo_facts import DemoFacts

TABLES = (
    "webhook_deliveries, webhook_pending, webhook_dead, webhook_ledger, webhook_unhandled, "
    "messages, message_words, message_words_pending, message_statuses, media, contacts, "
    "contact_identities, template_events, conversations, outbox, broadcasts, broadcast_recipients"
)


@dataclass(frozen=True, slots=True)
class Product:
    """An installation with its demo tenant, nothing of it running yet."""

    database_url: str
    redis_url: str
    home: Path
    env: dict[str, str]
    facts: DemoFacts

    def web(self, *, application: str = "sigma.asgi:application") -> tuple[Server, str]:
        """Start a web process; return it and its base URL."""
        with door.listening("127.0.0.1", 0) as listener:
            port = listener.getsockname()[1]
            argv = tuple(
                application if part == "sigma.asgi:application" else part
                for part in programs.web(self.env, listener.fileno()).argv
            )
            server = Server(
                argv, env=self.env, log=self.home / "web.log", pass_fds=(listener.fileno(),)
            )
            # The socket listens already: only an answer tells that the server is there.
            server.wait_until(lambda: _is_healthy(port))
        return server, f"http://127.0.0.1:{port}"

    def worker(self) -> Server:
        """Start the ingest worker; return it when it takes tasks."""
        program = programs.workers(self.env)[0]
        log = self.home / "worker.log"
        log.write_text("")
        server = Server(program.argv, env=self.env, log=log)
        return server.wait_until(lambda: "ready" in log.read_text())

    def sending(self, env: Mapping[str, str]) -> Server:
        """Start the sending worker in another environment; return it when it takes tasks."""
        program = next(one for one in programs.workers(env) if one.name == "sending")
        log = self.home / "sending.log"
        log.write_text("")
        server = Server(program.argv, env=env, log=log)
        return server.wait_until(lambda: "ready" in log.read_text())

    def spec(self, base_url: str, *, count: int) -> Spec:
        """Return a load for the demo tenant."""
        facts = self.facts
        return Spec(
            url=f"{base_url}/webhooks/whatsapp/{facts.tenant_slug}",
            secret=facts.app_secret,
            waba_id=facts.waba_id,
            phone_number_id=facts.phone_number_id,
            count=count,
        )

    def empty(self) -> None:
        """Remove all traffic, and let the database settle."""
        with psycopg.connect(self.database_url, autocommit=True) as connection:
            connection.execute(f"TRUNCATE {TABLES}")
            connection.execute("CHECKPOINT")

    def count(self, table: str) -> int:
        """Count the rows of a table."""
        return self.number(sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(table)))

    def number(self, statement: LiteralString | sql.Composed) -> int:
        """Return the one number that a statement selects."""
        with psycopg.connect(self.database_url, autocommit=True) as connection:
            row = connection.execute(statement).fetchone()
        return int(row[0]) if row else 0

    def wait_until_stored(self, messages: int, *, seconds: float) -> float:
        """Return the wall-clock time at which everything was stored.

        Raises:
            TimeoutError: something is still pending.
        """
        deadline = time.monotonic() + seconds
        with psycopg.connect(self.database_url, autocommit=True) as connection:
            while time.monotonic() < deadline:
                # The ledger is one row: to count messages would be a load of its own.
                row = connection.execute(
                    "SELECT coalesce(sum(processed), 0) >= %s FROM webhook_ledger", (messages,)
                ).fetchone()
                if row and row[0]:
                    return time.time()
                time.sleep(0.02)
        raise TimeoutError(f"{self.count('messages')} of {messages} messages stored.")


def install(engines: Engines) -> Product:
    """Make the database, the tables and the demo tenant."""
    home = engines.home / "product"
    home.mkdir(mode=0o700)
    env = {
        **os.environ,
        "DATABASE_URL": engines.database("product"),
        "REDIS_URL": engines.broker(1),
        "SIGMA_HOME": str(home),
        "SIGMA_EMBEDDED": "true",
        "PYTHONWARNINGS": "ignore",
    }
    for name, *arguments in (
        ("migrate", "--no-input"),
        ("create_demo", "--base-url", "http://127.0.0.1:1", "--sender-url", "http://127.0.0.1:2"),
    ):
        argv = programs.manage(name, env, name, *arguments).argv
        subprocess.run(argv, env=env, check=True, stdout=subprocess.DEVNULL)
    facts = demo_facts.read(home)
    assert facts is not None
    return Product(env["DATABASE_URL"], env["REDIS_URL"], home, env, facts)


def _is_healthy(port: int) -> bool:
    probe = (
        "import sys,urllib.request as u;"
        f"sys.exit(u.urlopen('http://127.0.0.1:{port}/healthz',timeout=5).status!=200)"
    )
    if not answers(port):
        return False
    done = subprocess.run([sys.executable, "-c", probe], check=False, capture_output=True)
    return done.returncode == 0
