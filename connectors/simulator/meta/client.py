"""A small client of the control API, for tests."""

from __future__ import annotations

from typing import Any

import httpx


class UnableToControl(Exception):
    """The simulator did not do what it was asked."""


class Control:
    """What a test asks of a running simulator; documents are those of ``docs/simulator.md``."""

    def __init__(self, origin: str) -> None:
        self._client = httpx.Client(base_url=f"{origin}/sim", timeout=10, trust_env=False)

    def close(self) -> None:
        """Let go of the connection."""
        self._client.close()

    def journal(self, since: int = 0, **filters: str) -> list[dict[str, Any]]:
        """Return the message requests after number ``since``; filter by ``to``, ``template`` or
        ``biz_opaque_callback_data``.
        """
        found: list[dict[str, Any]] = self._get("journal", since=str(since), **filters)["entries"]
        return found

    def processed(self, callback_data: str) -> list[dict[str, Any]]:
        """Return the requests with this ``biz_opaque_callback_data`` that took effect: one is
        right, two are a double send.
        """
        entries = self.journal(biz_opaque_callback_data=callback_data)
        return [entry for entry in entries if entry.get("is_processed")]

    def state(self) -> dict[str, Any]:
        """Return everything that it knows of itself."""
        return self._get("state")

    def deliveries(self, since: int = 0) -> list[dict[str, Any]]:
        """Return the callbacks after number ``since`` with their bodies, delivered or not."""
        found: list[dict[str, Any]] = self._get("webhooks", since=str(since))["deliveries"]
        return found

    def reset(self) -> None:
        """Forget everything that happened, rules and changes included."""
        self._post("reset", {})

    def advance(self, seconds: float) -> float:
        """Move time on; return the virtual time."""
        return float(self._post("clock", {"advance_seconds": seconds})["time"])

    def options(self, **options: object) -> dict[str, Any]:
        """Change how it behaves: see :class:`world.Options`."""
        return self._post("options", options)

    def rule(self, preset: str, **rule: object) -> int:
        """Let requests go wrong: see :class:`plans.Rule`; return the rule's number."""
        return int(self._post("rules", {"preset": preset, **rule})["id"])

    def lift_rules(self) -> None:
        """Let nothing go wrong any more."""
        self._checked(self._client.delete("rules"))

    def inbound(self, sender: str, text: str = "", **content: object) -> str:
        """Let a person write, which opens the window; return the message's id."""
        return str(self._post("inbound", {"from": sender, "text": text, **content})["id"])

    def open_window(self, sender: str, phone_number_id: str = "") -> None:
        """Open a person's 24-hour window without a message."""
        self._post("window", {"from": sender, "phone_number_id": phone_number_id})

    def change(self, kind: str, name: str, **fields: object) -> Any:
        """Change one of ``numbers``, ``accounts``, ``templates``, ``tokens``, ``apps``."""
        return self._post(f"{kind}/{name}", fields)

    def announce(self, field: str, value: dict[str, object], waba_id: str = "") -> None:
        """Send any update about an account."""
        self._post("updates", {"field": field, "value": value, "waba_id": waba_id})

    def _get(self, path: str, **query: str) -> dict[str, Any]:
        return self._checked(self._client.get(path, params=query))

    def _post(self, path: str, document: dict[str, Any]) -> dict[str, Any]:
        return self._checked(self._client.post(path, json=document))

    def _checked(self, response: httpx.Response) -> dict[str, Any]:
        if response.status_code != 200:
            raise UnableToControl(response.text)
        document: dict[str, Any] = response.json()
        return document
