"""The admin's forms: what the domain refuses becomes a form error, and secrets only go in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django import forms
from django.core.exceptions import ValidationError

from workspaces import provisioning, secrets
from workspaces.access import Scope
from workspaces.models import (
    HOSTED,
    ApiKey,
    Tenant,
    TenantSecret,
    TenantStatus,
    Transport,
    Workspace,
)
from workspaces.provisioning import UnableToCreateWorkspace
from workspaces.tokens import UnusableToken

if TYPE_CHECKING:
    CheckboxList = forms.CheckboxSelectMultiple
    SecretInput = forms.PasswordInput
    Select, TextInput = forms.Select, forms.TextInput
    TenantModelForm = forms.ModelForm[Tenant]
    SecretModelForm = forms.ModelForm[TenantSecret]
    WorkspaceModelForm = forms.ModelForm[Workspace]
    ApiKeyModelForm = forms.ModelForm[ApiKey]
else:
    from unfold.widgets import UnfoldAdminCheckboxSelectMultipleWidget as CheckboxList
    from unfold.widgets import UnfoldAdminPasswordWidget as SecretInput
    from unfold.widgets import UnfoldAdminSelectWidget as Select
    from unfold.widgets import UnfoldAdminTextInputWidget as TextInput

    TenantModelForm = SecretModelForm = WorkspaceModelForm = ApiKeyModelForm = forms.ModelForm

WORKSPACE_FIELDS = {"externalId": "external_id", "wabaId": "waba_id", "name": "name"}


class TenantForm(TenantModelForm):
    """A tenant. Erasing is not a status to choose: the erasure command sets it."""

    class Meta:
        model = Tenant
        fields = (
            "name",
            "slug",
            "status",
            "retention_days",
            "keeps_addresses",
            "archive",
            "archive_days",
        )
        help_texts = {  # noqa: RUF012
            "slug": "Lower-case letters, digits, hyphens. It stays, as part of the callback URL.",
            "retention_days": "Days for which Raw is kept; after that its keys are destroyed.",
            "keeps_addresses": "Whether people can be answered after that, too: their numbers stay "
            "sealed under the tenant's key while they are contacts (docs/privacy.md).",
            "archive": "Whether files that people send are kept here, rather than asked of Meta "
            "while it has them (docs/files.md). What is kept stays for its time.",
            "archive_days": "Days for which they are kept; empty: as long as Raw. Under the key of "
            "the day never longer than that.",
            "status": "A suspended tenant still receives, but its API keys are refused.",
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        status = self.fields.get("status")
        if isinstance(status, forms.ChoiceField):
            chosen = (TenantStatus.ACTIVE, TenantStatus.SUSPENDED)
            status.choices = [(value.value, value.label) for value in chosen]

    def clean_slug(self) -> str:
        """Refuse what the callback URL could not hold."""
        slug = str(self.cleaned_data["slug"])
        if not provisioning.SLUG.fullmatch(slug):
            raise ValidationError("Use lower-case letters, digits and hyphens only.")
        if provisioning.is_uuid(slug):
            raise ValidationError("This could be another tenant's id.")
        return slug


class SecretForm(SecretModelForm):
    """A secret: its value is entered once and never shown again."""

    value = forms.CharField(
        widget=SecretInput(
            {"autocomplete": "off", "spellcheck": "false", "style": "min-width: 11rem"}
        ),
        max_length=4096,
    )

    class Meta:
        model = TenantSecret
        fields = ("kind", "value", "label", "expires_at")
        widgets = {  # noqa: RUF012 - narrower than the defaults: it is one row of a table
            "kind": Select({"style": "min-width: 9rem"}),
            "label": TextInput({"style": "min-width: 6rem"}),
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not self.instance._state.adding:
            self.fields["kind"].disabled = True
            value = self.fields["value"]
            value.disabled, value.required = True, False
            value.widget.attrs["placeholder"] = "stored, not shown"

    def clean(self) -> dict[str, Any]:
        """Refuse examples and values too short to be secret."""
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        kind, value = cleaned.get("kind"), cleaned.get("value")
        if self.instance._state.adding and kind and value:
            try:
                cleaned["value"] = secrets.check(kind=kind, value=value)
            except UnusableToken as error:
                self.add_error("value", str(error))
        return cleaned

    def save(self, commit: bool = True) -> TenantSecret:
        """Seal a new value; of a stored one only label and expiry can change."""
        if not self.instance._state.adding:
            return super().save(commit)
        self.instance = secrets.add(
            tenant=self.instance.tenant,
            kind=self.cleaned_data["kind"],
            value=self.cleaned_data["value"],
            label=self.cleaned_data["label"],
            expires_at=self.cleaned_data["expires_at"],
        )
        return self.instance


class WorkspaceForm(WorkspaceModelForm):
    """A workspace, under the rules of ``provisioning``. It keeps its transport: messages and a
    linked account hang on it.
    """

    class Meta:
        model = Workspace
        fields = ("tenant", "name", "transport", "external_id", "waba_id", "is_active")
        help_texts = {  # noqa: RUF012
            "transport": "How the number is reached; it stays. A linked device is a WhatsApp "
            "account that you link like WhatsApp Web, which is outside WhatsApp's terms and may "
            "get the number banned.",
            "external_id": "The digits Meta shows as “Phone number ID”, not the phone number. For "
            "a linked device leave it empty: an ID is made.",
            "waba_id": "The WhatsApp Business Account ID; template events are assigned by it.",
            "is_active": "Updates for an inactive workspace go to quarantine.",
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Whether they may be empty depends on the transport; the domain says.
        for name in ("transport", "external_id"):
            if name in self.fields:
                self.fields[name].required = False

    def clean_transport(self) -> str:
        """Return the usual one where none is chosen."""
        return str(self.cleaned_data["transport"] or Transport.CLOUD_API)

    def clean(self) -> dict[str, Any]:
        """Refuse malformed ids, and a number that somebody has already."""
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        if self.errors:
            return cleaned
        if not self.instance._state.adding and self.instance.transport in HOSTED:
            return cleaned  # its id is ours, and is not in this form
        try:
            self._check(cleaned)
        except UnableToCreateWorkspace as error:
            self.add_error(WORKSPACE_FIELDS.get(error.field), error.message)
        else:
            self._refuse_duplicate(cleaned)
        return cleaned

    def _check(self, cleaned: dict[str, Any]) -> None:
        provisioning.check_workspace(
            name=cleaned["name"],
            external_id=cleaned["external_id"],
            platform=self.instance.platform,
            waba_id=cleaned["waba_id"],
            transport=cleaned.get("transport") or self.instance.transport,
        )
        self._refuse_number_in_use(cleaned)

    def _refuse_number_in_use(self, cleaned: dict[str, Any]) -> None:
        tenant = cleaned.get("tenant") or self.instance.tenant
        if cleaned["is_active"] or self.instance._state.adding:
            provisioning.refuse_number_in_use(
                tenant_id=tenant.pk,
                external_id=cleaned["external_id"],
                platform=self.instance.platform,
            )

    def _refuse_duplicate(self, cleaned: dict[str, Any]) -> None:
        # Django skips the constraint itself, because the platform is no field of this form.
        tenant = cleaned.get("tenant") or self.instance.tenant
        same = Workspace.objects.filter(
            tenant=tenant, platform=self.instance.platform, external_id=cleaned["external_id"]
        )
        if same.exclude(pk=self.instance.pk).exists():
            self.add_error("external_id", "This tenant has a workspace with this ID already.")


class ApiKeyForm(ApiKeyModelForm):
    """A key to issue; what it may do is ticked, reading messages by default."""

    scopes = forms.MultipleChoiceField(
        choices=[(scope.value, scope.value) for scope in Scope],
        initial=[Scope.MESSAGES_READ, Scope.MEDIA_READ, Scope.WORKSPACES_READ],
        widget=CheckboxList,
    )

    class Meta:
        model = ApiKey
        fields = ("tenant", "name", "workspace", "scopes", "expires_at")
        help_texts = {  # noqa: RUF012
            "name": "Who uses it, for example “CRM”.",
            "workspace": "Empty for a key to the whole API. With a workspace the key opens the "
            "sender service only, for this workspace: messages:send lets it send, messages:read "
            "ask what became of a message, numbers:read see the own number in plaintext.",
        }

    def clean(self) -> dict[str, Any]:
        """Refuse a workspace of another tenant."""
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        workspace, tenant = cleaned.get("workspace"), cleaned.get("tenant")
        if workspace is not None and tenant is not None and workspace.tenant_id != tenant.pk:
            self.add_error("workspace", "This tenant has no such workspace.")
        return cleaned
