"""Browsers of people who sign in to the admin."""

from __future__ import annotations

import time

from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from workspaces import sessions
from workspaces.models import Membership, Role, Tenant

# One list page per kind of row that the admin shows.
LISTS = (
    "workspaces_tenant",
    "workspaces_workspace",
    "workspaces_apikey",
    "workspaces_membership",
    "auth_user",
    "messaging_contact",
    "messaging_message",
    "messaging_messagestatus",
    "messaging_media",
    "messaging_broadcast",
    "templates_wa_template",
    "templates_wa_templatesync",
    "templates_wa_templateeventrow",
    "whatsapp_webhookpending",
    "whatsapp_webhookdead",
    "whatsapp_webhookledger",
    "whatsapp_webhookunhandled",
    "linked_device_sendersession",
    "events_eventsubscription",
    "events_eventdelivery",
)


def superuser() -> Client:
    """Return the browser of somebody who runs the installation."""
    return _browser(User.objects.create_superuser("boss"))


def member(tenant: Tenant, role: Role = Role.MANAGER) -> Client:
    """Return the browser of a member of one tenant."""
    user = User.objects.create_user(f"{tenant.slug}-{role.lower()}", is_staff=True)
    Membership.objects.create(tenant=tenant, user=user, role=role)
    return _browser(user)


def list_of(model: str, query: str = "") -> str:
    """Return the address of a list page."""
    return reverse(f"admin:{model}_changelist") + query


def page_of(model: str, key: object) -> str:
    """Return the address of one row's page."""
    return reverse(f"admin:{model}_change", args=(key,))


def _browser(user: User) -> Client:
    client = Client()
    client.force_login(user)
    session, now = client.session, int(time.time())
    session.update({sessions.SINCE: now, sessions.SEEN: now})  # as after signing in on the page
    session.save()
    return client
