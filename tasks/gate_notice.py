"""Tells people that a gate waits: a page in the Prefect interface, and a message to whoever wants one."""

from prefect import task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.logging import get_run_logger

from flenwheel_core.base.services import gate_address
from flenwheel_core.base.settings import Settings
from flenwheel_core.gates.session import ReviewSession
from flenwheel_core.reports.evidence import session_evidence
from flenwheel_core.reports.gate_page import gate_page, gate_text
from flenwheel_core.reports.notify import notify
from flenwheel_core.store import Store


@task(name="open gate", task_run_name="open {session.gate}", cache_policy=NO_CACHE, persist_result=False)
def announce_gate(session: ReviewSession, refusal: str) -> str:
    """Publishes the gate's page and notifies; returns the text for the form. Neither may fail the turn."""
    settings = Settings()
    text = gate_text(session, gate_address(settings, session.gate), refusal)
    logger = get_run_logger()
    try:
        store = Store(settings.store_url, settings.store_options)
        page = "\n".join([gate_page(store, session, text), "", *session_evidence(store, session)])
        create_markdown_artifact(page, key=session.gate, description="Pictures that wait for a verdict")
    except Exception as error:
        logger.warning(f"The gate's page could not be published: {error}")
    problem = notify(settings, f"FLENwheel: {session.gate} waits", text)
    if problem:
        logger.warning(problem)
    return text
