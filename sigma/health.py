"""Whether this web process can do its work, and whether the others do theirs."""

from __future__ import annotations

from django.conf import settings
from django.db import DatabaseError, connection
from django.http import HttpRequest, JsonResponse
from redis import Redis
from redis.exceptions import RedisError

from workspaces import brake


def healthz(request: HttpRequest) -> JsonResponse:
    """Answer 200 while the database answers, 503 otherwise.

    All else is reported and makes the status ``degraded``, but does not decide: callbacks are still
    accepted.
    """
    checks: dict[str, object] = {"database": _database(), "broker": _broker()}
    healthy = checks["database"] == "ok"
    if healthy and (stopped := _stopped()):
        checks["stopped"] = stopped
    status = "degraded" if "stopped" in checks else "healthy"
    body = {"status": status if healthy else "unhealthy", **checks}
    return JsonResponse(body, status=200 if healthy else 503)


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
