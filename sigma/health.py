"""Whether this web process can do its work, and whether the others do theirs."""

from __future__ import annotations

from django.conf import settings
from django.db import DatabaseError, connection
from django.http import HttpRequest, JsonResponse
from redis import Redis
from redis.exceptions import RedisError

from sigma import heads
from sigma.engines import state
from workspaces import brake


def healthz(request: HttpRequest) -> JsonResponse:
    """Answer 200 while the database answers, 503 otherwise, and until ``make up`` has started all.

    All else is reported and makes the status ``degraded``, but does not decide: callbacks are still
    accepted.
    """
    checks: dict[str, object] = {"database": _database(), "broker": _broker()}
    if checks["database"] != "ok":
        return JsonResponse({"status": "unhealthy", **checks}, status=503)
    if stopped := _stopped():
        checks["stopped"] = stopped
    if heads.refused:
        checks["refused"] = dict(heads.refused)
    if state.is_starting(settings.SIGMA_HOME):
        return JsonResponse({"status": "starting", **checks}, status=503)
    return JsonResponse({"status": "degraded" if stopped else "healthy", **checks})


def _database() -> str:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except DatabaseError:
        return "away"
    return "ok"


def _stopped() -> dict[str, str]:
    """Return the lines of work that are stopped, with the error's class."""
    try:
        return brake.stopped_lines()
    except DatabaseError as error:  # a schema older than this process
        return {"health": brake.name_of(error)}


def _broker() -> str:
    client = Redis.from_url(settings.REDIS_URL, socket_timeout=1, socket_connect_timeout=1)
    try:
        client.ping()
    except RedisError:
        return "away"
    finally:
        client.close()
    return "ok"
