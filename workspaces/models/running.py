"""What the processes of this installation say of themselves, for ``/healthz``."""

from __future__ import annotations

from django.db import models


class StoppedWork(models.Model):
    """A line of work that is stopped because everything fails alike (``lib.brake``).

    Its row is written at each trial, and removed when something passes.
    """

    line = models.CharField(primary_key=True, max_length=32)
    error = models.CharField(max_length=100)
    since = models.DateTimeField()
    seen_at = models.DateTimeField()

    class Meta:
        db_table = "stopped_work"

    def __str__(self) -> str:
        return f"{self.line}: {self.error}"


class Heartbeat(models.Model):
    """When a process was last heard of, by the database's clock, and how far its host's clock is
    ahead of that, in seconds.
    """

    role = models.CharField(max_length=32)
    host = models.CharField(max_length=128)
    heard_at = models.DateTimeField()
    clock_ahead = models.FloatField()

    class Meta:
        db_table = "heartbeats"
        constraints = (models.UniqueConstraint(fields=("role", "host"), name="heartbeats_one"),)

    def __str__(self) -> str:
        return f"{self.role} on {self.host}"


class PurgeRun(models.Model):
    """When each purge last ran to its end, by the database's clock, and the first day that its time
    had not come for; what it kept of earlier days may go whenever nothing is against it any more.
    """

    what = models.CharField(primary_key=True, max_length=32)
    ran_at = models.DateTimeField()
    before = models.DateField(null=True)

    class Meta:
        db_table = "purge_runs"

    def __str__(self) -> str:
        return self.what
