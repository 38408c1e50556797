"""The tables of templates: what may be sent, and what Meta reported about it."""

from __future__ import annotations

from templates_wa.models.catalogue import Template
from templates_wa.models.reported import TemplateEventRow
from templates_wa.models.syncs import TemplateSync

__all__ = ["Template", "TemplateEventRow", "TemplateSync"]
