"""The view: verify, enqueue, answer."""

from __future__ import annotations

import hashlib
import hmac
import json

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from benchmarks.plain.tasks import process


@csrf_exempt
@require_POST
def webhook(request: HttpRequest) -> HttpResponse:
    """Take one callback."""
    digest = hmac.new(settings.APP_SECRET.encode(), request.body, hashlib.sha256).hexdigest()
    if not hmac.compare_digest("sha256=" + digest, request.headers.get("X-Hub-Signature-256", "")):
        return HttpResponse(status=401)
    process.delay(json.loads(request.body))
    return HttpResponse(status=200)


urlpatterns = [path("hook", webhook)]
