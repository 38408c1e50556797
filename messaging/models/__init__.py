"""The tables of messaging. Integrity lives in named constraints.

Foreign keys of the bulk-written tables are not enforced by the database: each would cost a trigger
call per row, and rows are only ever removed by tenant erasure. The one exception is the outbox: a
pending send whose message is gone must not be sent.
"""

from __future__ import annotations

from messaging.models.blocks import BlockList, BlockState, ContactBlock
from messaging.models.broadcasts import (
    Broadcast,
    BroadcastRecipient,
    BroadcastState,
    RecipientState,
)
from messaging.models.desk import CannedReply, ConversationLabel, ConversationNote
from messaging.models.erasure import PersonErasure
from messaging.models.messages import (
    ArchiveError,
    ArchiveState,
    Contact,
    ContactIdentity,
    Conversation,
    IdentityKind,
    Media,
    MediaState,
    Message,
    MessageStatus,
    PendingFetch,
)
from messaging.models.search import MessageWords, PendingWords
from messaging.models.sending import (
    NumberState,
    OptOut,
    OptOutSource,
    PendingSend,
    PortfolioRecipient,
    ReadMark,
    SendingPause,
    SendingPolicy,
)
from messaging.models.uploads import Upload, UploadHandle, UploadState

__all__ = [
    "ArchiveError",
    "ArchiveState",
    "BlockList",
    "BlockState",
    "Broadcast",
    "BroadcastRecipient",
    "BroadcastState",
    "CannedReply",
    "Contact",
    "ContactBlock",
    "ContactIdentity",
    "Conversation",
    "ConversationLabel",
    "ConversationNote",
    "IdentityKind",
    "Media",
    "MediaState",
    "Message",
    "MessageStatus",
    "MessageWords",
    "NumberState",
    "OptOut",
    "OptOutSource",
    "PendingFetch",
    "PendingSend",
    "PendingWords",
    "PersonErasure",
    "PortfolioRecipient",
    "ReadMark",
    "RecipientState",
    "SendingPause",
    "SendingPolicy",
    "Upload",
    "UploadHandle",
    "UploadState",
]
