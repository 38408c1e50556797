"""neonize's protobuf classes without the rest of it: its Go library stays out of this process."""

from __future__ import annotations

import importlib
import sys
from importlib.util import find_spec
from types import ModuleType
from typing import Any

import pytest

_FOUND = find_spec("neonize")
if _FOUND is None or _FOUND.submodule_search_locations is None:
    pytest.skip("neonize has no wheel for this platform", allow_module_level=True)
_package = ModuleType("neonize")
_package.__path__ = list(_FOUND.submodule_search_locations)
_package.__spec__ = _FOUND
sys.modules.setdefault("neonize", _package)

pb: Any = importlib.import_module("neonize.proto.Neonize_pb2")
e2e: Any = importlib.import_module("neonize.proto.waE2E.WAWebProtobufsE2E_pb2")


def jid(user: str, server: str = "s.whatsapp.net", device: int = 0) -> Any:
    """Return an id of WhatsApp's."""
    return pb.JID(User=user, Server=server, RawAgent=0, Device=device, Integrator=0, IsEmpty=False)


def source(chat: Any, sender: Any = None, **other: Any) -> Any:
    """Return where a message or receipt comes from."""
    facts = {
        "Chat": chat,
        "Sender": sender or chat,
        "IsFromMe": False,
        "IsGroup": False,
        "SenderAlt": jid("", ""),
        "RecipientAlt": jid("", ""),
        "BroadcastListOwner": jid("", ""),
    }
    return pb.MessageSource(**{**facts, **other})


def message(content: Any, where: Any, *, is_edit: bool = False, category: str = "") -> Any:
    """Return the library's event of a message."""
    info = pb.MessageInfo(
        MessageSource=where,
        ID="3EB0AA",
        ServerID=0,
        Type="text",
        Pushname="Ana",
        Timestamp=1_790_000_000,
        Category=category,
        Multicast=False,
        MediaType="",
        Edit="",
    )
    flags = dict.fromkeys(
        (
            "IsEphemeral",
            "IsViewOnce",
            "IsViewOnceV2",
            "IsViewOnceV2Extension",
            "IsDocumentWithCaption",
            "IsLottieSticker",
        ),
        False,
    )
    return pb.Message(
        Info=info, Message=content, IsEdit=is_edit, UnavailableRequestID="", RetryCount=0, **flags
    )
