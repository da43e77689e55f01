"""``/registers``: assessments before data are shared, incidents and complaints, with their deadlines."""

from __future__ import annotations

from typing import Annotated

from shuiqiao.api.door import Running
from shuiqiao.api.journaling import performed
from shuiqiao.api.routing import DEFAULT_LIMIT, Caller, Limit, Routes, cursor_of_form
from shuiqiao.client.pages import PageQuery
from shuiqiao.client.resources import registers as api

registers = Routes("registers")

_WORDS = "node.register_words"

Cursor = Annotated[str, cursor_of_form(r"^[0-9]{1,15}$")]


@registers.perform(api.LIST_REGISTER, permission="registers.read")
def list_register(
    running: Running, caller: Caller, limit: Limit = DEFAULT_LIMIT, cursor: Cursor | None = None
) -> api.RegisterPage:
    """List the entries of the registers, in the order in which they were made."""
    return performed(running, caller, api.LIST_REGISTER, PageQuery(limit=limit, cursor=cursor))


@registers.perform(
    api.ASSESS, permission="registers.write", codes=("members.unknown", "node.assessment_period", _WORDS)
)
def assess(made: api.NewAssessment, running: Running, caller: Caller) -> api.RegisterRecord:
    """Enter an assessment of sharing data with a member, good until a moment."""
    return performed(running, caller, api.ASSESS, made)


@registers.perform(api.REPORT_INCIDENT, permission="registers.write", codes=("node.incident_ahead", _WORDS))
def report_incident(made: api.NewIncident, running: Running, caller: Caller) -> api.RegisterRecord:
    """Enter an incident; its severity says within which time it is to be reported."""
    return performed(running, caller, api.REPORT_INCIDENT, made)


@registers.perform(api.COMPLAIN, permission="registers.write", codes=(_WORDS,))
def complain(made: api.NewComplaint, running: Running, caller: Caller) -> api.RegisterRecord:
    """Enter a complaint about the use of data, to be answered within 15 days."""
    return performed(running, caller, api.COMPLAIN, made)


@registers.perform(
    api.CLOSE_ENTRY, permission="registers.write", codes=("node.register_unknown", "node.register_closed", _WORDS)
)
def close_entry(closed: api.RegisterClosure, running: Running, caller: Caller) -> api.RegisterRecord:
    """Close an entry with what became of it; it stays so."""
    return performed(running, caller, api.CLOSE_ENTRY, closed)
