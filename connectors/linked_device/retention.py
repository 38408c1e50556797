"""Codes and numbers of pairings that are over: removed where no process was left to do so."""

from __future__ import annotations

from datetime import datetime

from django.db.models import Q

from connectors.models import SenderSession


def forget_pairings(*, now: datetime) -> int:
    """Remove QR codes and pairing codes that no phone takes any more, and numbers that nobody asks
    a code for; return of how many sessions.
    """
    codes = SenderSession.objects.filter(sealed_pairing__isnull=False, pairing_expires_at__lte=now)
    numbers = SenderSession.objects.filter(
        Q(paired_at__isnull=False) | Q(pair_by=""), sealed_pair_number__isnull=False
    )
    over = list(codes.values_list("pk", flat=True))
    idle = list(numbers.values_list("pk", flat=True))
    # Asked again: a new code may have come meanwhile.
    codes.filter(pk__in=over).update(sealed_pairing=None, pairing_expires_at=None)
    numbers.filter(pk__in=idle).update(sealed_pair_number=None)
    return len({*over, *idle})
