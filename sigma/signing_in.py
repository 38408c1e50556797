"""Signing in to the admin, the only door with a password: throttled, logged, with a second factor.

Every refusal has the same words and does the same work, so that nobody learns which names exist,
or that a password was right and only its code was missing.
"""

from __future__ import annotations

import logging
import secrets
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django import forms
from django.conf import settings
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.safestring import mark_safe
from django.views.decorators.cache import never_cache

from lib import clock, qrcodes, throttle
from lib.throttle import Limit, TooManyAttempts
from sigma.clients import Address, client_of
from workspaces import second_factors, sessions
from workspaces.second_factors import WrongCode

if TYPE_CHECKING:
    from django.contrib.admin import AdminSite as UnfoldAdminSite
    from django.contrib.admin.forms import AdminAuthenticationForm as AuthenticationForm

    Input = forms.TextInput
else:
    from unfold.forms import AuthenticationForm
    from unfold.sites import UnfoldAdminSite
    from unfold.widgets import UnfoldAdminTextInputWidget as Input

logger = logging.getLogger("sigma.whatsapp.sign_in")

# Wrong attempts under one name, and from one address: people mistype, programs guess.
PER_NAME = Limit(burst=10, gap=timedelta(minutes=1))
PER_ADDRESS = Limit(burst=30, gap=timedelta(seconds=10))
# A browser that somebody has signed in with has its own count, which strangers cannot fill
# (https://owasp.org/www-community/Slow_Down_Online_Guessing_Attacks_with_Device_Cookies).
KNOWN, KNOWN_FOR = f"{settings.COOKIE_PREFIX}known", timedelta(days=180)
REFUSED = (
    "The user name, the password or the code is not right. Who has set up a second factor needs "
    "its code as well."
)


class CodeInput(Input):
    """A field for a code, which a phone's keyboard and password managers recognise."""

    def __init__(self) -> None:
        super().__init__(attrs={"autocomplete": "one-time-code", "autocapitalize": "none"})


class SignInForm(AuthenticationForm):
    """Name, password, and the code of whoever has a second factor."""

    code = forms.CharField(
        label="Code",
        required=False,
        max_length=32,
        widget=CodeInput,
        help_text="From your authenticator app, or a recovery code, if you have set one up.",
    )
    error_messages = {**AuthenticationForm.error_messages, "invalid_login": REFUSED}  # noqa: RUF012
    retry_after: int | None = None

    def clean(self) -> dict[str, Any]:
        """Let in who may; what a refused attempt costs is charged before it is looked at."""
        assert self.request is not None  # noqa: S101 - the page always passes it
        name, address = self.cleaned_data.get("username", ""), _address_of(self.request)
        now = clock.now()
        buckets = _buckets(self.request, name, address)
        try:
            for bucket, limit in buckets:
                throttle.charge(bucket, limit, now=now)
        except TooManyAttempts as error:
            self.retry_after = error.seconds
            _log("throttled", name, address)
            raise ValidationError(str(error), code="throttled") from None
        try:
            found = super().clean()
            self._check_code()
        except ValidationError:
            _log("refused", name, address)
            raise
        for bucket, limit in buckets:
            throttle.refund(bucket, limit)
        _log("accepted", name, address)
        return found

    def confirm_login_allowed(self, user: Any) -> None:
        """Refuse who is not staff in the words of a wrong password."""
        if not user.is_active or not user.is_staff:
            raise self.get_invalid_login_error()

    def _check_code(self) -> None:
        user = self.get_user()
        code = self.cleaned_data.get("code", "")
        if user is None or not second_factors.is_set_up(user):
            return
        if not second_factors.accepts(user, code, now=clock.now()):
            raise self.get_invalid_login_error()


class AdminSite(UnfoldAdminSite):
    """Unfold's admin, with our way in."""

    login_form = SignInForm

    def login(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show the form, or sign somebody in; who still needs a second factor sets it up first."""
        if request.method == "GET" and _is_waiting(request):
            return HttpResponseRedirect(reverse("admin:second_factor"))
        response = super().login(request, extra_context)
        if request.method == "POST" and isinstance(response, HttpResponseRedirect):
            has_code = second_factors.is_set_up(request.user)
            sessions.begin(request, with_code=has_code)
            if not has_code and second_factors.is_needed(request.user):
                response = HttpResponseRedirect(reverse("admin:second_factor"))
            _remember(response, request.user.get_username())
        form = (getattr(response, "context_data", None) or {}).get("form")
        if form is not None and form.is_bound and form.retry_after is not None:
            response.status_code = 429
            response["Retry-After"] = str(form.retry_after)
        return response

    def get_app_list(
        self, request: HttpRequest, app_label: str | None = None
    ) -> list[dict[str, Any]]:
        """Return the menu; strangers have none, and nothing is asked or made for them."""
        return super().get_app_list(request, app_label) if self.has_permission(request) else []

    def get_urls(self) -> list[URLPattern]:  # type: ignore[override]
        """Add the page of the second factor, which asks who is there itself."""
        own = path("second-factor/", never_cache(self.second_factor), name="second_factor")
        return [own, *super().get_urls()]  # type: ignore[list-item]

    def second_factor(self, request: HttpRequest) -> HttpResponse:
        """Set a second factor up, or take it away, for whoever gave the right password."""
        user = sessions.person_of(request)
        may_stay = user.is_authenticated and (_is_waiting(request) or self.has_permission(request))
        if not isinstance(user, User) or not may_stay:
            return HttpResponseRedirect(reverse("admin:login"))
        facts: dict[str, Any] = {}
        if request.method == "POST":
            facts = _change(request, user)
        if not facts.get("codes"):
            facts["is_set_up"] = second_factors.is_set_up(user)
        if facts.get("is_set_up") is False:
            setup = second_factors.begin(user)
            facts |= {"secret": setup.secret, "qr": mark_safe(qrcodes.as_svg(setup.uri))}  # noqa: S308
        facts |= {"is_needed": user.is_superuser and not settings.EMBEDDED, "code": CodeForm()}
        context = {**self.each_context(request), "title": "Second factor", **facts}
        return TemplateResponse(request, "sigma/second_factor.html", context)


class CodeForm(forms.Form):
    """One code."""

    code = forms.CharField(label="Code", max_length=32, widget=CodeInput)


def _address_of(request: HttpRequest) -> Address:
    return client_of(
        request.META.get("REMOTE_ADDR", ""), request.headers.get("X-Forwarded-For", "")
    )


def _buckets(request: HttpRequest, name: str, address: Address) -> tuple[tuple[str, Limit], ...]:
    """Return what an attempt is charged to. The address comes first: who is slowed down by it uses
    up no attempts of the name's.
    """
    browser = request.get_signed_cookie(KNOWN, "", salt=_salt(name), max_age=KNOWN_FOR)
    if browser:
        return ((f"browser {browser}", PER_NAME),)
    return (f"address {address}", PER_ADDRESS), (f"name {name}", PER_NAME)


def _remember(response: HttpResponse, name: str) -> None:
    """Let the browser be known, to this name alone."""
    response.set_signed_cookie(
        KNOWN,
        secrets.token_urlsafe(16),
        salt=_salt(name),
        max_age=KNOWN_FOR,
        secure=settings.SESSION_COOKIE_SECURE,
        httponly=True,
        samesite="Strict",
    )


def _salt(name: str) -> str:
    return f"browser of {name}"


def _is_waiting(request: HttpRequest) -> bool:
    """Whether somebody gave the right password and has to set up a second factor before anything
    else.
    """
    user = sessions.person_of(request)
    if not user.is_authenticated or request.user.is_authenticated:
        return False
    return not second_factors.is_set_up(user)


def _change(request: HttpRequest, user: User) -> dict[str, Any]:
    code, now = request.POST.get("code", "")[:32], clock.now()
    # Not the name's: strangers, who have no session, could fill it.
    bucket, address = f"codes of {user.pk}", _address_of(request)
    try:
        throttle.charge(bucket, PER_NAME, now=now)
        if second_factors.is_set_up(user):
            if not second_factors.accepts(user, code, now=now):
                raise WrongCode("The code is not right.")
            second_factors.remove(user)
            sessions.begin(request, with_code=False)
            facts: dict[str, Any] = {"was_removed": True}
        else:
            facts = {"codes": second_factors.confirm(user, code, now=now)}
            sessions.begin(request, with_code=True)
    except (WrongCode, TooManyAttempts) as error:
        return {"error": str(error)}
    throttle.refund(bucket, PER_NAME)
    _log("second factor " + ("set up" if "codes" in facts else "removed"), user.username, address)
    return facts


def _log(what: str, name: str, address: Address) -> None:
    """Log a name only if somebody has it: passwords get typed into the wrong field."""
    known = User.objects.filter(username=name).exists()
    extra = {"user": name if known else "(unknown)", "address": address}
    logger.log(
        logging.INFO if what.startswith(("accepted", "second")) else logging.WARNING,
        "whatsapp admin sign-in %s",
        what,
        extra=extra,
    )
