"""One table of people, one of messages."""

from __future__ import annotations

from django.db import models


class Contact(models.Model):
    """A person, by hashed number."""

    digest = models.CharField(max_length=64, unique=True)
    name = models.CharField(max_length=200)

    class Meta:
        app_label = "plain"

    def __str__(self) -> str:
        return self.name


class Message(models.Model):
    """A message."""

    wamid = models.CharField(max_length=200, unique=True)
    contact = models.ForeignKey(Contact, on_delete=models.CASCADE)
    type = models.CharField(max_length=32)
    text = models.TextField()
    timestamp = models.DateTimeField()
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        app_label = "plain"

    def __str__(self) -> str:
        return self.wamid
