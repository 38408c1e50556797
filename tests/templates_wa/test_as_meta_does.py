"""Our check against another reading of Meta's rules: the simulator's, which knows none of ours."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from hypothesis import event, given, settings
from hypothesis import strategies as st

from connectors.simulator.meta.failures import GraphError
from connectors.simulator.meta.template_checks import check_parameters
from connectors.simulator.meta.world import SimulatedTemplate
from templates_wa.definitions import Definition
from templates_wa.parameters import TemplateParameters
from templates_wa.rendering import wire
from templates_wa.validation import problems
from tests.templates_wa.fitting import fitting, listings, nearly_fitting

NOW = datetime(2026, 11, 22, tzinfo=UTC)


def meta_refuses(listing: Any, parameters: TemplateParameters) -> str:
    """Send it to the simulator's check; return its objection."""
    components, format_ = listing
    template = SimulatedTemplate(
        id="1",
        name="n",
        language="en",
        category="UTILITY",
        components=components,
        parameter_format=format_,
    )
    sent = wire("n", "en", Definition.of(*listing), parameters).get("components", [])
    try:
        check_parameters(template, sent, now=NOW.timestamp())
    except GraphError as error:
        return f"{error.code} {error.details}"
    return ""


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_meta_accepts_what_fits(data: st.DataObject) -> None:
    listing = data.draw(listings())
    parameters = data.draw(fitting(Definition.of(*listing), NOW))

    assert problems(Definition.of(*listing), parameters, NOW) == []
    assert meta_refuses(listing, parameters) == ""


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_meta_refuses_nothing_that_we_let_pass(data: st.DataObject) -> None:
    listing = data.draw(listings())
    parameters = data.draw(nearly_fitting(Definition.of(*listing), NOW))

    refused = bool(problems(Definition.of(*listing), parameters, NOW))
    event("refused" if refused else "passed")
    assert refused or meta_refuses(listing, parameters) == ""
