"""The GraphQL schema: the apps' queries and mutations, composed."""

from __future__ import annotations

import graphene

from connectors.events.graphql.schema import EventMutations, EventQueries
from connectors.linked_device.graphql.schema import LinkedDeviceMutations, LinkedDeviceQueries
from connectors.whatsapp.graphql.schema import LedgerQueries
from messaging.graphql.blocks import BlockMutations, BlockQueries
from messaging.graphql.broadcast_mutations import BroadcastMutations
from messaging.graphql.broadcasts import BroadcastQueries
from messaging.graphql.canned import CannedReplyMutations, CannedReplyQueries
from messaging.graphql.contacts import ContactQueries
from messaging.graphql.conversations import ConversationQueries
from messaging.graphql.desk import DeskMutations, DeskQueries
from messaging.graphql.erasure import ErasureMutations, ErasureQueries
from messaging.graphql.labels import LabelMutations, LabelQueries
from messaging.graphql.numbers import NumberMutations, NumberQueries
from messaging.graphql.optouts import OptOutMutations, OptOutQueries
from messaging.graphql.pages import MessageQueries
from messaging.graphql.preflight import PreflightQueries
from messaging.graphql.search import SearchQueries
from messaging.graphql.sending import SendingMutations
from messaging.graphql.uploads import FileToSendMutations, FileToSendQueries
from templates_wa.graphql.mutations import TemplateMutations
from templates_wa.graphql.schema import TemplateQueries
from workspaces.graphql.schema import WorkspaceMutations, WorkspaceQueries


class Query(
    MessageQueries,
    SearchQueries,
    ConversationQueries,
    ContactQueries,
    DeskQueries,
    LabelQueries,
    CannedReplyQueries,
    FileToSendQueries,
    OptOutQueries,
    ErasureQueries,
    BlockQueries,
    PreflightQueries,
    BroadcastQueries,
    NumberQueries,
    TemplateQueries,
    WorkspaceQueries,
    LedgerQueries,
    EventQueries,
    LinkedDeviceQueries,
):
    """What you may read; everything belongs to the tenant you act for."""


class Mutation(
    SendingMutations,
    DeskMutations,
    LabelMutations,
    CannedReplyMutations,
    FileToSendMutations,
    OptOutMutations,
    ErasureMutations,
    BlockMutations,
    BroadcastMutations,
    NumberMutations,
    TemplateMutations,
    WorkspaceMutations,
    EventMutations,
    LinkedDeviceMutations,
):
    """What you may change. Refusals are data (``errors`` of the payload)."""


schema = graphene.Schema(query=Query, mutation=Mutation)
