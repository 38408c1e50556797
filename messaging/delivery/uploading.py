"""Give files to the platform: by threads beside the sending ones, one file for one number at a
time, however many senders there are.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from random import Random
from threading import Event, Lock
from uuid import UUID

from django.db import connection

from lib import bulk, clock
from lib.envelope import CannotOpen
from lib.work import AWAY
from messaging import uploads
from messaging.attempts import WIDE, wait_after
from messaging.delivery import pauses
from messaging.delivery.due import call
from messaging.delivery.files import COLUMNS, LIFE, REFUSED_FOR, FileKey, waiting_for
from messaging.delivery.pauses import Pause
from messaging.delivery.queues import SENDS
from messaging.models import Upload
from messaging.sealed_storage import FileGone, StorageAway
from workspaces.channel_errors import ChannelError, Rejected, Throttled, Unavailable
from workspaces.channels import Channel
from workspaces.keys import TenantHasNoKeys

logger = logging.getLogger("sigma.whatsapp.files")
THREADS = 4
# Those that one tenant may have under way: the others' files wait for none of them.
MOST_OF_ONE = 2
# Those that may wait for a thread, of one tenant in one process: more than a broadcast has in the
# outbox.
MOST_WAITING = 2_000
# How often it is written down how much the platform has, and that the sender lives. The lease is
# longer than the platform may take for a piece, or for its answer (``Channel.upload_media``).
PROGRESS_SECONDS = 2.0
LEASE = timedelta(minutes=2)

# Whoever takes the lease uploads; the others look again.
TAKE = """
INSERT INTO upload_handles AS h (tenant_id, upload_id, workspace_id, lease_until, due_at, attempts)
SELECT r.tenant_id, r.upload_id, r.workspace_id, r.until, r.now, 1 FROM {rows}
ON CONFLICT (tenant_id, upload_id, workspace_id) DO UPDATE
SET lease_until = excluded.lease_until, sent_bytes = 0, attempts = h.attempts + 1
WHERE coalesce(h.lease_until <= excluded.due_at, true) AND h.due_at <= excluded.due_at
  AND coalesce(h.platform_media_id = '' OR h.expires_at <= excluded.due_at, true)
RETURNING h.attempts
"""
GIVE = """
UPDATE upload_handles h SET lease_until = NULL, platform_media_id = r.platform_media_id,
    expires_at = r.expires_at, due_at = r.due_at, error_code = r.error_code, error = r.error,
    attempts = CASE WHEN r.platform_media_id = '' THEN h.attempts ELSE 0 END
FROM {rows} WHERE h.tenant_id = r.tenant_id AND h.upload_id = r.upload_id
  AND h.workspace_id = r.workspace_id AND h.lease_until = r.lease_until
"""


GO_ON = """
UPDATE upload_handles h SET lease_until = r.until, sent_bytes = r.sent FROM {rows}
WHERE h.tenant_id = r.tenant_id AND h.upload_id = r.upload_id
  AND h.workspace_id = r.workspace_id AND h.lease_until = r.lease_until
RETURNING true
"""


@dataclass(frozen=True, slots=True)
class FileJob:
    """A file that has to be given to the platform."""

    key: FileKey
    channel: Channel = field(repr=False)
    is_of_broadcast: bool = False


_Lane = dict[FileKey, FileJob]


class Uploader:
    """The uploads of one process. Tenants take turns, whatever number of files each has; of one's
    files those of single messages go first.
    """

    def __init__(self, *, chance: Random) -> None:
        self._chance = chance
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="uploads")
        # What waits for a thread, of each tenant in the order of turns: of single messages, and of
        # broadcasts. Who asks again brings the credentials of the moment.
        self._waiting: dict[UUID, tuple[_Lane, _Lane]] = {}
        self._under_way: dict[FileKey, UUID] = {}
        self._closing = Event()
        self._lock = Lock()

    def begin(self, jobs: Iterable[FileJob]) -> None:
        """Upload files, each once; what finds no place is asked for again."""
        with self._lock:
            for job in jobs:
                self._enter(job)
            self._fill()

    def close(self) -> None:
        """Begin nothing more; what is under way is given up soon, and begun again by others."""
        with self._lock:
            self._closing.set()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _enter(self, job: FileJob) -> None:
        if job.key in self._under_way:
            return
        lanes = self._waiting.setdefault(job.key.tenant_id, ({}, {}))
        single, broadcast = lanes
        if job.key in single or not job.is_of_broadcast:
            broadcast.pop(job.key, None)
        lane = single if job.key in single or not job.is_of_broadcast else broadcast
        if job.key in lane or len(lane) < MOST_WAITING:
            lane[job.key] = job

    def _fill(self) -> None:
        """Give free threads what waits."""
        while not self._closing.is_set() and len(self._under_way) < THREADS:
            busy = Counter(self._under_way.values())
            free = (one for one in self._waiting if busy[one] < MOST_OF_ONE)
            tenant_id = next(free, None)
            if tenant_id is None:
                return
            lanes = self._waiting.pop(tenant_id)
            lane = lanes[0] or lanes[1]
            job = lane.pop(next(iter(lane)))
            if any(lanes):
                self._waiting[tenant_id] = lanes  # behind the others
            self._under_way[job.key] = tenant_id
            self._pool.submit(self._run, job)

    def _run(self, job: FileJob) -> None:
        extra: dict[str, object] = {
            "tenant_id": job.key.tenant_id,
            "upload_id": job.key.upload_id,
        }
        try:
            upload(job, chance=self._chance, closing=self._closing)
        except AWAY as error:  # its lease will be over
            extra["error"] = type(error).__name__
            logger.warning("whatsapp file not given to the platform", extra=extra)
        except Exception:
            logger.exception("whatsapp file failed in a way nobody thought of", extra=extra)
        finally:
            connection.close()
            with self._lock:
                self._under_way.pop(job.key, None)
                self._fill()


def upload(job: FileJob, *, chance: Random, closing: Event | None = None) -> bool:
    """Give a file to the platform, unless another sender does, or until this process is
    ``closing``; return whether it is there now.
    """
    now = clock.now()
    giving = _Giving(job, now + LEASE, closing)
    columns = (*COLUMNS, "until timestamptz", "now timestamptz")
    taken = bulk.run(TAKE, columns, [(*job.key, giving.until, now)])
    if not taken:
        return False
    try:
        media_id = giving.give()
    except ChannelError as error:
        _failed(job, error, giving.until, attempts=taken[0][0], chance=chance)
        return False
    except StorageAway as error:
        refusal = Unavailable(str(error))
        _failed(job, refusal, giving.until, attempts=taken[0][0], chance=chance)
        return False
    except (FileGone, CannotOpen, TenantHasNoKeys, Upload.DoesNotExist) as error:
        # Its row says so: who gives it to us again need not wait.
        extra = {**job.key._asdict(), "error": type(error).__name__}
        logger.error("whatsapp file to send cannot be read", extra=extra)
        _write(job.key, giving.until, "", None, clock.now())
        return False
    now = clock.now()
    _write(job.key, giving.until, media_id, now + LIFE, now)
    return True


class _Giving:
    """A file under way: held by a lease ``until`` a time, which is renewed as the file goes."""

    def __init__(self, job: FileJob, until: datetime, closing: Event | None) -> None:
        self._job, self.until, self._closing = job, until, closing

    def give(self) -> str:
        """Give the file to the platform; return what it is called there."""
        key = self._job.key
        row = Upload.objects.get(tenant_id=key.tenant_id, pk=key.upload_id)
        file = replace(uploads.outgoing(row), pieces=partial(self._pieces, row))
        try:
            return self._job.channel.upload_media(file)
        except (FileGone, CannotOpen):
            uploads.lose(row)
            raise

    def _pieces(self, row: Upload) -> Iterator[bytes]:
        """Yield a file's bytes, and write down now and then how many were taken.

        Raises:
            workspaces.channel_errors.Unavailable: this process ends, or others have taken over.
        """
        sent, told = 0, time.monotonic()
        for piece in uploads.pieces(row):
            if self._closing is not None and self._closing.is_set():
                raise Unavailable("The file is given by another process.")
            yield piece
            sent += len(piece)
            if time.monotonic() - told >= PROGRESS_SECONDS:
                self._go_on(sent)
                told = time.monotonic()

    def _go_on(self, sent: int) -> None:
        until = max(clock.now() + LEASE, self.until)
        columns = (*COLUMNS, "lease_until timestamptz", "until timestamptz", "sent int8")
        try:
            renewed = bulk.run(GO_ON, columns, [(*self._job.key, self.until, until, sent)])
        except AWAY:  # the platform takes the file even so
            connection.close()
            return
        if not renewed:
            raise Unavailable("Another process gives the file.")
        self.until = until


def _failed(
    job: FileJob, error: ChannelError, until: datetime, *, attempts: int, chance: Random
) -> None:
    """Write down why it failed, and when to try again. Whatever else would be refused too stops."""
    now = clock.now()
    code: int | None = None
    if isinstance(error, Rejected) and error.stops and error.reach in WIDE:
        numbers = pauses.numbers_within(error.reach, job.key.workspace_id)
        pauses.pause(
            (Pause(job.key.tenant_id, one, error.code, error.message) for one in numbers), now=now
        )
        due = now
    elif isinstance(error, Rejected):
        code, due = error.code, now + REFUSED_FOR
    else:  # it may have been taken even so; twice is harmless
        known = isinstance(error, Throttled | Unavailable)
        again = error if known else Unavailable(error.message, code=error.code)
        due = now + timedelta(seconds=wait_after(again, attempts, chance))  # type: ignore[arg-type]
    extra = {"tenant_id": job.key.tenant_id, "upload_id": job.key.upload_id, "code": error.code}
    logger.warning("whatsapp file not given to the platform", extra=extra)
    _write(job.key, until, "", None, due, code, error.message)


def _write(
    key: FileKey,
    lease_until: datetime,
    media_id: str,
    expires_at: datetime | None,
    due_at: datetime,
    code: int | None = None,
    error: str = "",
) -> None:
    columns = (
        *COLUMNS,
        "lease_until timestamptz",
        "platform_media_id text",
        "expires_at timestamptz",
        "due_at timestamptz",
        "error_code int4",
        "error text",
    )
    bulk.run(GIVE, columns, [(*key, lease_until, media_id, expires_at, due_at, code, error)])
    reason = waiting_for(key.upload_id)
    call(tenant_id=key.tenant_id, workspace_id=key.workspace_id, reason=reason, now=clock.now())
    SENDS.notify()
