"""The table of states: every verb in every state."""

from __future__ import annotations

import pytest

from messaging.broadcasts.refusals import BroadcastErrorCode, UnableToBroadcast
from messaging.broadcasts.states import NEXT, RULES, Verb, must_act
from messaging.models import Broadcast
from messaging.models import BroadcastState as State

LEADS = {
    Verb.START: State.CHECKING,
    Verb.PAUSE: State.PAUSED,
    Verb.RESUME: State.RUNNING,
    Verb.CANCEL: State.CANCELLED,
}


@pytest.mark.parametrize("verb", Verb)
@pytest.mark.parametrize("state", State)
def test_a_verb_acts_or_has_acted_or_is_refused(verb: Verb, state: State) -> None:
    rule = RULES[verb]

    if state in rule.from_ | rule.done:
        assert must_act(Broadcast(state=state), verb) is (state in rule.from_)
    else:
        with pytest.raises(UnableToBroadcast, match=f"is {state}") as refused:
            must_act(Broadcast(state=state), verb)
        assert refused.value.code == BroadcastErrorCode.WRONG_STATE


@pytest.mark.parametrize(("verb", "to"), LEADS.items())
def test_every_verb_leads_where_the_table_allows(verb: Verb, to: State) -> None:
    assert all(to in NEXT[state] for state in RULES[verb].from_ - {State.SCHEDULED})


def test_what_has_ended_runs_again_only_to_send_again_what_failed() -> None:
    assert (NEXT[State.COMPLETED], NEXT[State.CANCELLED]) == ({State.RUNNING}, frozenset())
    assert [verb for verb in Verb if State.COMPLETED in RULES[verb].from_] == [Verb.RETRY]
    assert set(NEXT) == set(State)
