"""Whether this web process can do its work, and whether the others do theirs."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from django.conf import settings
from django.db import DatabaseError, connection
from django.http import HttpRequest, JsonResponse
from redis import Redis
from redis.exceptions import OutOfMemoryError, RedisError

from lib import brake, heartbeat
from lib.heartbeat import Heard
from sigma import heads
from sigma.engines import state

# Without these an installation does not do its work; the others run where they are wanted.
REQUIRED = ("web", "worker", "sending", "maintenance", "beat")


def healthz(request: HttpRequest) -> JsonResponse:
    """Answer 200 while the database answers, 503 otherwise, and until ``make up`` has started all.

    All else is reported and makes the status ``degraded``, but does not decide: callbacks are still
    accepted.
    """
    database, broker = _database(), broker_state()
    stopped, processes = _reported() if database == "ok" else ({}, [])
    checks: dict[str, object] = {"database": database, "broker": broker}
    if database != "ok":
        return JsonResponse({"status": "unhealthy", **checks}, status=503)
    checks["processes"] = _described(processes)
    if stopped:
        checks["stopped"] = stopped
    if heads.refused:
        checks["refused"] = dict(heads.refused)
    if state.is_starting(settings.SIGMA_HOME):
        return JsonResponse({"status": "starting", **checks}, status=503)
    is_degraded = stopped or any(not _is_fine(role, processes) for role in roles(processes))
    return JsonResponse({"status": "degraded" if is_degraded else "healthy", **checks})


def roles(processes: Sequence[Heard]) -> list[str]:
    """Return the roles that have to be played, and those that are."""
    return list(dict.fromkeys((*REQUIRED, *(one.role for one in processes))))


def _is_fine(role: str, processes: Sequence[Heard]) -> bool:
    """Whether somebody plays the role: one that died may have been replaced on another host."""
    lately = [one for one in processes if one.role == role and not one.is_late]
    return bool(lately) and not any(one.is_wrong for one in lately)


def _described(processes: Sequence[Heard]) -> dict[str, list[dict[str, object]]]:
    """Return of each role when its processes were last heard of, the latest first."""
    return {
        role: [
            {
                "seconds_ago": round(one.seconds, 1),
                "clock_ahead": round(one.clock_ahead, 1) + 0.0,  # no minus zero
                "status": "late" if one.is_late else "clock" if one.is_wrong else "ok",
            }
            for one in processes
            if one.role == role
        ]
        for role in roles(processes)
    }


def _database() -> str:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except DatabaseError:
        return "away"
    return "ok"


def _reported() -> tuple[dict[str, str], list[Heard]]:
    """Return the lines of work that are stopped, and the processes that were heard of."""
    try:
        return brake.stopped_lines(), heartbeat.heard()
    except DatabaseError as error:  # a schema older than this process
        return {"health": brake.name_of(error)}, []


def broker_state() -> str:
    """Return ``ok``, ``full`` or ``away``."""
    try:
        _client(settings.REDIS_URL).set("sigma:health", "1", ex=60)
    except OutOfMemoryError:
        return "full"
    except RedisError:
        return "away"
    return "ok"


@lru_cache(maxsize=1)
def _client(url: str) -> Redis:
    """Return a client that keeps its connections."""
    return Redis.from_url(url, socket_timeout=1, socket_connect_timeout=1)
