"""The embedded engines, started for real: passwords, ports, crashes, and data that stay."""

from __future__ import annotations

import importlib.util
import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
from redis import Redis

from lib.deathguard import Identity, guarded
from sigma.engines import postgres, state, valkey
from sigma.engines.engine import (
    PORTS,
    Engine,
    EngineFailed,
    EngineNotInstalled,
    choose_port,
    working_on,
)

WaitFor = Callable[..., None]


@contextmanager
def running(engine: Engine, wait_for: WaitFor) -> Iterator[subprocess.Popen[bytes]]:
    """Run an engine until the end of the block."""
    process = subprocess.Popen(
        engine.command(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        wait_for(engine.answers)
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder that the tests of this file share."""
    return tmp_path_factory.mktemp("engines")


@pytest.fixture(scope="module")
def database(home: Path) -> Engine:
    """A durable cluster, made once for this file and not running."""
    return postgres.prepare(home)


class TestResolve:
    def test_it_prefers_the_environment(self, tmp_path: Path) -> None:
        state.remember(
            tmp_path, database_url="postgresql://embedded/x", redis_url="redis://embedded/0"
        )

        urls = state.resolve({"SIGMA_HOME": str(tmp_path), "DATABASE_URL": "postgresql://out/x"})

        assert urls == state.Urls("postgresql://out/x", "redis://embedded/0")

    def test_it_names_both_ways_out_when_there_is_no_engine(self, tmp_path: Path) -> None:
        url = state.resolve({"SIGMA_HOME": str(tmp_path)}).database_url

        with pytest.raises(psycopg.OperationalError, match=r"set-database_url-or-run-make-up"):
            psycopg.connect(url)

    @pytest.mark.parametrize("content", ["", "{", "[]", "null"])
    def test_it_ignores_a_broken_file(self, tmp_path: Path, content: str) -> None:
        (tmp_path / "engines.json").write_text(content)

        assert state.read(tmp_path) == state.Urls()

    def test_it_keeps_the_urls_to_their_owner(self, tmp_path: Path) -> None:
        state.remember(tmp_path, database_url="postgresql://sigma:secret@127.0.0.1/sigma")
        state.remember(tmp_path, redis_url="redis://:secret@127.0.0.1/0")

        assert stat.S_IMODE((tmp_path / "engines.json").stat().st_mode) == 0o600
        assert all((state.read(tmp_path).database_url, state.read(tmp_path).redis_url))


class TestPorts:
    def test_it_keeps_a_port_that_is_free(self) -> None:
        assert choose_port(chosen := choose_port(None)) == chosen

    def test_it_leaves_a_port_that_is_taken(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as other:
            taken = other.getsockname()[1]

            assert choose_port(taken) in PORTS


class TestPostgres:
    def test_it_serves_its_owner_only(self, database: Engine, wait_for: WaitFor) -> None:
        stranger = database.url.replace(urlsplit(database.url).password or "", "wrong")

        with running(database, wait_for), psycopg.connect(database.url) as connection:
            assert connection.info.dbname == "sigma"
            with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
                psycopg.connect(stranger)

    def test_it_syncs_every_commit_and_logs_no_values(
        self, database: Engine, wait_for: WaitFor
    ) -> None:
        names = ["fsync", "synchronous_commit", "full_page_writes", "log_error_verbosity"]

        with running(database, wait_for), psycopg.connect(database.url) as connection:
            found = [connection.execute(f"SHOW {name}").fetchone() for name in names]

        assert found == [("on",), ("on",), ("on",), ("terse",)]

    def test_it_keeps_what_was_committed_before_a_kill(
        self, database: Engine, wait_for: WaitFor
    ) -> None:
        with running(database, wait_for) as process:
            with psycopg.connect(database.url) as connection:
                connection.execute("CREATE TABLE kept AS SELECT 1 AS one")
            process.send_signal(signal.SIGKILL)

        with running(database, wait_for), psycopg.connect(database.url) as connection:
            assert connection.execute("SELECT one FROM kept").fetchone() == (1,)

    def test_it_comes_back_at_the_same_address(self, home: Path, database: Engine) -> None:
        assert postgres.prepare(home, kept_url=database.url).url == database.url

    def test_it_takes_a_new_password_when_the_old_one_was_lost(
        self, home: Path, database: Engine, wait_for: WaitFor
    ) -> None:
        renewed = postgres.prepare(home)

        with running(renewed, wait_for), psycopg.connect(renewed.url) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
        # The other tests of this file go on with the first password.
        postgres.settle(home / "postgres")
        postgres.change_password(home / "postgres", urlsplit(database.url).password or "")

    def test_it_discards_a_lock_whose_process_is_somebody_else(
        self, home: Path, database: Engine, wait_for: WaitFor
    ) -> None:
        (home / "postgres" / "postmaster.pid").write_text(f"{os.getppid()}\n")

        with running(postgres.prepare(home, kept_url=database.url), wait_for):
            assert database.answers()

    @pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
    def test_it_starts_after_a_kill_that_left_a_process_behind(
        self, home: Path, database: Engine, wait_for: WaitFor
    ) -> None:
        with running(database, wait_for) as process:
            left = next(
                pid for pid in working_on(home / "postgres", "postgres") if pid != process.pid
            )
            # What hangs does not notice that its server is gone, and holds the shared memory.
            os.kill(left, signal.SIGSTOP)
            process.send_signal(signal.SIGKILL)

        again = postgres.prepare(home, kept_url=database.url)
        with running(again, wait_for), psycopg.connect(again.url) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)

    @pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
    def test_it_never_runs_beside_another_on_the_same_files(
        self, home: Path, database: Engine, wait_for: WaitFor, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("sigma.engines.engine.LONGEST_SHUTDOWN_SECONDS", 0.3)

        with running(database, wait_for) as process:
            with pytest.raises(EngineFailed, match=rf"process {process.pid}\) runs on .*stop it"):
                postgres.prepare(home, kept_url=database.url)
            assert database.answers()

    def test_it_does_not_answer_while_it_hangs(
        self, database: Engine, wait_for: WaitFor, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(postgres, "ANSWER_SECONDS", 2)
        with running(database, wait_for) as process:
            process.send_signal(signal.SIGSTOP)

            assert not database.answers()

    def test_it_answers_when_all_its_connections_are_taken(
        self, database: Engine, wait_for: WaitFor
    ) -> None:
        few = replace(database, argv=(*database.argv, "-c", "max_connections=10"))

        with running(few, wait_for), ExitStack() as held:
            with pytest.raises(psycopg.OperationalError, match="too many clients"):
                while True:
                    held.enter_context(psycopg.connect(few.url))
            assert few.answers()

    def test_it_says_what_to_install_or_set(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)

        with pytest.raises(EngineNotInstalled, match=r"DATABASE_URL.*requirements-embedded\.txt"):
            postgres.create(tmp_path / "postgres", "password")


class TestValkey:
    def test_it_keeps_its_data_over_a_kill(self, tmp_path: Path, wait_for: WaitFor) -> None:
        engine = valkey.prepare(tmp_path)
        with running(engine, wait_for) as process, Redis.from_url(engine.url) as client:
            client.set("kept", "1")
            process.send_signal(signal.SIGKILL)

        again = valkey.prepare(tmp_path, kept_url=engine.url)
        with running(again, wait_for), Redis.from_url(engine.url) as client:
            assert client.get("kept") == b"1"

    @pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
    def test_it_never_runs_beside_another_on_the_same_files(
        self, tmp_path: Path, wait_for: WaitFor, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("sigma.engines.engine.LONGEST_SHUTDOWN_SECONDS", 0.3)
        engine = valkey.prepare(tmp_path)

        with running(engine, wait_for), pytest.raises(EngineFailed, match="stop it first"):
            valkey.prepare(tmp_path, kept_url=engine.url)

    @pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
    def test_it_ends_nobody_who_only_stands_in_its_folder(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("sigma.engines.engine.ORPHAN_SECONDS", 0.3)
        valkey.prepare(tmp_path)
        with subprocess.Popen(["/bin/sleep", "600"], cwd=tmp_path / "valkey") as shell:
            valkey.prepare(tmp_path)
            assert shell.poll() is None
            shell.kill()

    @pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
    def test_it_knows_another_whichever_way_leads_to_its_files(
        self, tmp_path: Path, wait_for: WaitFor, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("sigma.engines.engine.LONGEST_SHUTDOWN_SECONDS", 0.3)
        (tmp_path / "there").mkdir()
        (tmp_path / "here").symlink_to(tmp_path / "there")
        engine = valkey.prepare(tmp_path / "here")

        with running(engine, wait_for), pytest.raises(EngineFailed, match="stop it first"):
            valkey.prepare(tmp_path / "here", kept_url=engine.url)

    def test_it_asks_for_a_password(self, tmp_path: Path, wait_for: WaitFor) -> None:
        engine = valkey.prepare(tmp_path, durable=False)
        address = ("127.0.0.1", urlsplit(engine.url).port or 0)

        with running(engine, wait_for), socket.create_connection(address) as stranger:
            stranger.sendall(b"PING\r\n")
            assert stranger.recv(100).startswith(b"-NOAUTH")

    def test_it_keeps_the_password_off_the_command_line(self, tmp_path: Path) -> None:
        engine = valkey.prepare(tmp_path)
        configuration = tmp_path / "valkey" / "valkey.conf"

        assert (urlsplit(engine.url).password or "") not in " ".join(engine.argv)
        assert stat.S_IMODE(configuration.stat().st_mode) == 0o600


@pytest.mark.skipif(sys.platform != "linux", reason="prctl is Linux's")
class TestTether:
    def test_it_ends_the_program_when_the_starter_is_killed(self, wait_for: WaitFor) -> None:
        script = (
            "import subprocess, sys, time; from lib.deathguard import guarded;"
            "print(subprocess.Popen(guarded(['/bin/sleep', '60'])).pid, flush=True);"
            "time.sleep(60)"
        )
        with ExitStack() as stack:
            starter = stack.enter_context(
                subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
            )
            assert starter.stdout is not None
            pid = int(starter.stdout.readline())
            wait_for(lambda: b"sleep" in Path(f"/proc/{pid}/cmdline").read_bytes())
            starter.kill()

        wait_for(lambda: not Path(f"/proc/{pid}/cmdline").exists() or _is_zombie(pid))

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
    @pytest.mark.parametrize("identity", [Identity.NAMESPACE, Identity.NOBODY])
    def test_it_does_not_leave_the_program_root(self, identity: Identity) -> None:
        told = subprocess.run(
            guarded(["/usr/bin/id", "-un"], identity=identity), capture_output=True
        )

        # A hardened container may forbid namespaces; then the launcher takes the other way.
        assert told.stdout == b"nobody\n" or b"unshare" in told.stderr


def _is_zombie(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
