"""The part of a first enrichment that injection draws, where the recipe wants it and a trial shows that it brings the character."""

from flenwheel_core.base.document import Document
from flenwheel_core.base.errors import UserError
from flenwheel_core.base.settings import Settings
from flenwheel_core.documents.images import ImageRecord
from flenwheel_core.documents.injections import InjectionOfTurn
from flenwheel_core.injection.gains import tried_gain
from flenwheel_core.library.injections import Injections
from flenwheel_core.plans.injected_cells import cells, trial
from flenwheel_core.requests.inject import InjectRequest
from flenwheel_core.runner.stage import INJECT
from flows.turn import Turn
from flows.turn_runner import StageRunner
from tasks.progress_artifact import say


class _Planned(Document):
    """What is drawn, with the head that there was when the turn was planned; or why nothing is."""

    request: InjectRequest | None
    why_not: str = ""


def injected_pictures(turn: Turn, runner: StageRunner) -> tuple[ImageRecord, ...]:
    """Pictures of missing cells, for gate A; none in a later turn, where the recipe asks for none, or where they do not show the character.

    Whether they are drawn, and why, is said and stands in the report of the turn; the trial's pictures stand on the character's page.
    """
    if not turn.recipe.enrich.injected or turn.number != 1 or turn.character.kind == "style":
        return ()

    def plan_trial() -> _Planned:
        found = trial(turn.recipe, turn.character, turn.store, Settings())
        return _Planned(request=None, why_not=found) if isinstance(found, str) else _Planned(request=found)

    planned = turn.frozen("injection-trial", _Planned, plan_trial)
    outcome = turn.frozen("injection", InjectionOfTurn, lambda: _outcome(turn, runner, planned))
    say(outcome.said)
    tried, alpha = planned.request, outcome.alpha
    if tried is None or alpha is None:
        return ()

    def plan_cells() -> _Planned:
        pool = turn.pool()
        found = cells(tried, alpha, turn.planned_pictures(pool, 1), pool, turn.character, turn.recipe, turn=turn.number)
        return _Planned(request=found)

    asked = turn.frozen("injection-cells", _Planned, plan_cells).request
    return () if asked is None else turn.store.get_images(runner.stage(INJECT, asked, f"inject {turn.name}").images)


def _outcome(turn: Turn, runner: StageRunner, planned: _Planned) -> InjectionOfTurn:
    if planned.request is None:
        return InjectionOfTurn(alpha=None, said=f"No cells are filled by injection: {planned.why_not}")
    try:
        tried = runner.stage(INJECT, planned.request, f"try injection {turn.name}")
    except UserError as error:  # such as a card that is too small for it: a turn has its edits without
        return InjectionOfTurn(alpha=None, said=f"No cells are filled by injection: {error.what}")
    Injections(turn.store).add_preview(turn.character.name, planned.request)
    gain = tried_gain(tried.cells, planned.request.seeds)
    if gain is None or not gain.beats:
        found = "nothing could be measured" if gain is None else gain.text()
        return InjectionOfTurn(
            alpha=None, said=f"No cells are filled by injection, which does not bring this character: {found}."
        )
    return InjectionOfTurn(
        alpha=gain.alpha, said=f"Missing cells are filled by injection too, which brings this character: {gain.text()}."
    )
