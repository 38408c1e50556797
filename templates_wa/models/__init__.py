"""The tables of templates: what may be sent, and what Meta reported about it."""

from __future__ import annotations

from templates_wa.models.catalogue import Template
from templates_wa.models.reported import TemplateEventRow

__all__ = ["Template", "TemplateEventRow"]
