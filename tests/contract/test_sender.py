"""B1: the sender service's requests as its users have them, and its answers."""

from __future__ import annotations

import json
import re

from connectors.simulator.meta.server import RunningSimulator
from tests.conftest import Cast
from tests.contract.conftest import block
from tests.sender.conftest import Served, key_for, serving
from tests.sender.simulated import delivering, meta

__all__ = ("delivering", "meta")

LINE = re.compile(r"^(GET|POST) (\S+) *(\{.*\})?\s*→ (.*)$", re.MULTILINE)


def asked() -> list[tuple[str, str, str | None, dict]]:
    """Return the block's requests with their answers."""
    joined = re.sub(r"\n +→", " →", block("sender.txt"))
    return [
        (method, path, body or None, json.loads(answer))
        for method, path, body, answer in LINE.findall(joined)
    ]


def ask(sender: Served, method: str, path: str, body: str | None, **headers: str) -> dict:
    """Send a request as it is written, as curl would with -d."""
    answer = sender.client.request(method, path, content=body, headers=headers)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_its_requests_work_as_written(
    acme: Cast, meta: RunningSimulator, delivering: None, tmp_path, settings
) -> None:
    settings.SIGMA_SENDER_STORE = tmp_path
    key = key_for(acme)
    with serving() as sender:
        found = [
            (ask(sender, method, path, body, **{"X-API-Key": key}), promised)
            for method, path, body, promised in asked()
        ]

    (health, _), (sent, _), (status, _) = found
    assert [list(answer) for answer, _ in found] == [list(promised) for _, promised in found]
    assert (health["status"], health["connected"], sent["success"]) == ("healthy", True, True)
    assert (status["logged_in"], status["battery"]) == (True, None)
    assert re.fullmatch(r"\+\d\dX+", health["phone"])
    assert health["phone"] == status["phone_number"]
    assert len(meta.control.journal()) >= 1
    assert (tmp_path / "logs" / "service.log").read_text().count("message sent") == 1
