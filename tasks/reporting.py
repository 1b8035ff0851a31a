"""The report of a turn, as a page in the Prefect interface and in the store."""

from prefect import task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE

from flenwheel_core.base.ids import slugify
from flenwheel_core.reports.turn_report import TurnFacts, benchmark_report, turn_report
from flenwheel_core.requests.benchmark import BenchmarkResult
from tasks.open_turn import open_store


@task(name="report", task_run_name="report {facts.name}", cache_policy=NO_CACHE, persist_result=False)
def publish_report(facts: TurnFacts) -> str:
    """Publishes the report of a turn and returns its text."""
    text = turn_report(open_store(), facts)
    create_markdown_artifact(text, key=slugify(f"report-{facts.name}"), description=f"Turn report of {facts.name}")
    return text


@task(name="report", task_run_name="report {name}", cache_policy=NO_CACHE, persist_result=False)
def publish_benchmark(name: str, score: BenchmarkResult) -> None:
    """Publishes the page of a benchmark on its own."""
    page = benchmark_report(open_store(), score)
    create_markdown_artifact(page, key=slugify(f"benchmark-{name}"), description=f"Model card of {name}")
