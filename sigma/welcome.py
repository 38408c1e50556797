"""What a newcomer needs after the start: addresses, credentials, and two commands to paste."""

from __future__ import annotations

import base64
import json
import secrets
import shlex
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from lib.files import write_private
from sigma import simulated
from sigma.console import Terminal

QUERY = (
    'query { messages(workspaceId: "%s" platform: WHATS_APP first: 10 '
    "orderBy: { timestamp: DESC }) "
    "{ nodes { id text sender { displayName platformUserId } timestampUtc } } }"
)
PERSON = "+1234567890"
# What is shown on a terminal only: a file or another program's log would keep it.
SECRETS = ("admin_password", "api_key", "sender_key", "verify_token")
MUTATION = (
    'mutation { sendWhatsAppMessage(input: { workspaceId: "%s" '
    f'recipientPhone: "{PERSON}" templateName: "welcome_message" '
    'templateParams: ["John"] }) { success messageId errors { message } } }'
)
SIGN = (
    'import hmac,json;secret=json.load(open({demo}))["app_secret"].encode();'
    'print(hmac.new(secret,open({sample},"rb").read(),"sha256").hexdigest())'
)


def show(terminal: Terminal, *, folder: Path, base_url: str) -> None:
    """Print the demo's facts and two commands to paste; write the body that the first one sends."""
    demo = json.loads((folder / "demo.json").read_text(encoding="utf-8"))
    known = folder / "demo.json"
    shown = dict(demo)
    if not terminal.is_terminal:
        shown |= dict.fromkeys(SECRETS, f"stands in {known}")
        demo |= {name: _elsewhere(known, name) for name in SECRETS}
    sample = folder / "sample.json"
    write_private(sample, json.dumps(_callback(demo), indent=2) + "\n")
    simulator = demo["simulator_url"]
    terminal.facts(
        "SIGMA is up",
        {
            "GraphQL": f"{base_url}/graphql",
            "API key": shown["api_key"],
            "Admin": demo["admin_url"],
            "User": f"{demo['admin_user']}  (password: {shown['admin_password']})",
            "Callback URL": demo["callback_url"],
            "Verify token": shown["verify_token"],
            "Sender service": demo["sender_url"],
            "Sends go to": f"a simulator, {simulator}" if simulator else demo["graph_url"],
            "All of it": str(known),
        },
    )
    terminal.paste("Take in a correctly signed callback:", _send(demo, folder, sample))
    terminal.paste("Read it back:", _ask(demo, base_url, QUERY % demo["workspace_id"]))
    if simulator:
        send = _ask(demo, base_url, MUTATION % demo["workspace_id"])
        terminal.paste("Send a template to somebody simulated, who reads it in two seconds:", send)
        terminal.paste("Have them answer:", _answer(demo))
        terminal.paste("Send a text through the sender service:", _text(demo))
    terminal.note("\nCtrl-C stops everything; the data stay.\n")


def _elsewhere(known: Path, name: str) -> str:
    """Return what a shell puts a secret in the place of: it stays in the file that it is in."""
    read = f"import json;print(json.load(open({json.dumps(str(known))}))[{json.dumps(name)}])"
    return f"$({shlex.join([sys.executable, '-c', read])})"


def _callback(demo: Mapping[str, str]) -> dict[str, object]:
    """Return a text message as Meta sends it (Cloud API, Webhooks, messages: Text)."""
    sender = "15550100001"
    wamid = base64.b64encode(sender.encode() + secrets.token_bytes(16)).decode()
    message = {
        "from": sender,
        "id": f"wamid.{wamid}",
        "timestamp": str(int(time.time())),
        "type": "text",
        "text": {"body": "Hello, is my order on its way?"},
    }
    value = {
        "messaging_product": "whatsapp",
        "metadata": {
            "display_phone_number": "15550199999",
            "phone_number_id": demo["phone_number_id"],
        },
        "contacts": [{"profile": {"name": "Thandi Nkosi"}, "wa_id": sender}],
        "messages": [message],
    }
    changes = [{"field": "messages", "value": value}]
    return {
        "object": "whatsapp_business_account",
        "entry": [{"id": demo["waba_id"], "changes": changes}],
    }


def _send(demo: Mapping[str, str], folder: Path, sample: Path) -> str:
    # JSON's quotes, so that the shell's own need no escaping.
    sign = SIGN.format(demo=json.dumps(str(folder / "demo.json")), sample=json.dumps(str(sample)))
    signature = f"X-Hub-Signature-256: sha256=$({shlex.join([sys.executable, '-c', sign])})"
    body = f"--data-binary {shlex.quote(f'@{sample}')}"
    return _curl(f"-i {shlex.quote(demo['callback_url'])}", signature, body)


def _answer(demo: Mapping[str, str]) -> str:
    body = {"phone_number_id": demo["phone_number_id"], "from": PERSON, "text": "Thank you!"}
    return _curl(f"{demo['simulator_url']}/sim/inbound", "", _json(body))


def _text(demo: Mapping[str, str]) -> str:
    body = {"phone": simulated.PERSON, "message": "Your DR evaluation is ready"}
    return _curl(f"{demo['sender_url']}/send", f"X-API-Key: {demo['sender_key']}", _json(body))


def _ask(demo: Mapping[str, str], base_url: str, document: str) -> str:
    key = f"Authorization: Bearer {demo['api_key']}"
    return _curl(f"{base_url}/graphql", key, _json({"query": document}))


def _json(body: object) -> str:
    return f"-d {shlex.quote(json.dumps(body))}"


def _curl(where: str, header: str, body: str) -> str:
    """Return a command in lines; a shell puts values into the header, if there is one."""
    headers = ["-H 'Content-Type: application/json'", *([f'-H "{header}"'] if header else ())]
    return " \\\n  ".join([f"curl -sS {where}", *headers, body])
