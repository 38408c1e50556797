"""The paths of the REST door, below ``/api/v1/``."""

from __future__ import annotations

from django.urls import path

from messaging.rest.blocks import Blocked, Blocking, OneBlockList, SyncBlocked, Unblocking
from messaging.rest.broadcasts import Outcomes, Recipients, Retrying
from messaging.rest.canned import CannedReplies, OneCannedReply
from messaging.rest.conversations import ContactLookup, Conversations, OneContact
from messaging.rest.desk import HandledConversation, Labels, Members, Notes, OneLabel, OneNote
from messaging.rest.erasure import Erasing, OneErasure
from messaging.rest.media import MediaFiles, OneMediaFile
from messaging.rest.optouts import OptIns, OptOuts, StopWordsView
from messaging.rest.search import MessageSearch
from messaging.rest.templates import OneTemplate, Templates
from messaging.rest.views import (
    Cancellation,
    MarkConversationRead,
    MarkRead,
    Messages,
    OneMessage,
    PreflightView,
)

urlpatterns = [
    path("media", MediaFiles.as_view()),
    path("media/<uuid:media_id>", OneMediaFile.as_view()),
    path("messages", Messages.as_view()),
    path("messages/preflight", PreflightView.as_view()),
    path("messages/search", MessageSearch.as_view()),
    path("messages/<uuid:message_id>", OneMessage.as_view()),
    path("messages/<uuid:message_id>/cancel", Cancellation.as_view()),
    path("messages/<uuid:message_id>/read", MarkRead.as_view()),
    path("conversations", Conversations.as_view()),
    path("conversations/<uuid:conversation_id>", HandledConversation.as_view()),
    path("conversations/<uuid:conversation_id>/read", MarkConversationRead.as_view()),
    path("contacts/lookup", ContactLookup.as_view()),
    path("contacts/<uuid:contact_id>", OneContact.as_view()),
    path("contacts/<uuid:contact_id>/erase", Erasing.as_view()),
    path("erasures/<uuid:erasure_id>", OneErasure.as_view()),
    path("opt-outs", OptOuts.as_view()),
    path("opt-ins", OptIns.as_view()),
    path("stop-words", StopWordsView.as_view()),
    path("contacts/block", Blocking.as_view()),
    path("contacts/unblock", Unblocking.as_view()),
    path("contacts/blocked", Blocked.as_view()),
    path("workspaces/<uuid:workspace_id>/block-list", OneBlockList.as_view()),
    path("workspaces/<uuid:workspace_id>/block-list/sync", SyncBlocked.as_view()),
    path("conversations/<uuid:conversation_id>/notes", Notes.as_view()),
    path("conversations/<uuid:conversation_id>/notes/<uuid:note_id>", OneNote.as_view()),
    path("canned-replies", CannedReplies.as_view()),
    path("canned-replies/<uuid:reply_id>", OneCannedReply.as_view()),
    path("members", Members.as_view()),
    path("labels", Labels.as_view()),
    path("labels/<uuid:label_id>", OneLabel.as_view()),
    path("templates", Templates.as_view()),
    path("templates/<uuid:template_id>", OneTemplate.as_view()),
    path("broadcasts/<uuid:broadcast_id>/recipients", Recipients.as_view()),
    path("broadcasts/<uuid:broadcast_id>/outcomes.csv", Outcomes.as_view()),
    path("broadcasts/<uuid:broadcast_id>/retry-failed", Retrying.as_view()),
]
