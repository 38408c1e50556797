"""The addresses of a tenant that people paste elsewhere."""

from __future__ import annotations

from django.conf import settings


def callback_url(slug: str, *, base_url: str | None = None) -> str:
    """Return the callback URL of a tenant, as entered in Meta's app dashboard under Webhooks."""
    return f"{base_url or settings.SIGMA_PUBLIC_URL}/webhooks/whatsapp/{slug}"
