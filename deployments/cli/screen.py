"""Commands about screening: calibrate its limits by people's verdicts."""

from cyclopts import App

from deployments.cli.terminal import plain_console
from flenwheel_core.base.errors import InputError
from flenwheel_core.base.settings import Settings
from flenwheel_core.documents.decisions import FinalDecision
from flenwheel_core.documents.scores import Screening
from flenwheel_core.gates.session import Reviews
from flenwheel_core.identity import belief_calibration
from flenwheel_core.identity.calibration import Proposal, calibrate, judged_pictures
from flenwheel_core.identity.screening import LabelLimits, Limits, limits_of
from flenwheel_core.identity.subject_rules import rules_of
from flenwheel_core.library.characters import Library
from flenwheel_core.recipes.loading import load_recipe
from flenwheel_core.store import Store

console = plain_console()


def add_to(app: App) -> None:
    """Adds these commands to the `flenwheel` command."""
    screen = App(name="screen", help="The guardrail before the review gates.")
    screen.command(calibrate_limits, name="calibrate")
    app.command(screen)


def calibrate_limits(character: str, *, recipe: str | None = None) -> None:
    """Fit the limits of identity, and of readings of angle, expression and spoiled faces, to the verdicts of closed gates.

    Shows what would change, and the lines for the recipe. Changes nothing.

    Parameters
    ----------
    character
        The character's name.
    recipe
        The recipe whose limits are compared; the character's own if not given.
    """
    settings = Settings()
    store = Store(settings.store_url, settings.store_options)
    library = Library(store)
    known = library.character(character)
    facts = library.facts(character)
    if facts is None or facts.fingerprint is None:
        raise InputError(
            f"{character} has no identity fingerprint yet.", remedy="It is taken with the first turn: flenwheel run."
        )
    rules = rules_of(known.kind)
    limits = limits_of(load_recipe(recipe or known.recipe).screening, facts.fingerprint, strict=False, rules=rules)
    screenings, decisions = _verdicts(store, character, facts.fingerprint.verifier_version)
    console.print("\n".join(report(screenings, decisions, limits, character, known.kind)))


def report(
    screenings: list[Screening], decisions: list[FinalDecision], limits: Limits, character: str, kind_of_subject: str
) -> list[str]:
    """What fits the verdicts, part by part. Raises InputError if there are too few of them for any part."""
    recipe_lines, readings = [], []
    screenings = belief_calibration.one_an_image(screenings)
    person, may_fail = kind_of_subject == "person", limits.rules.labels_may_fail
    gate_b = LabelLimits(limits.recipe, person=person, strict=True, may_fail=may_fail)
    for kind in belief_calibration.KINDS:
        found = belief_calibration.evidence(kind, screenings, decisions)
        proposal = belief_calibration.propose(found, limits.recipe, gate_b_removes=gate_b.gate_b_removes)
        readings += belief_calibration.lines(found, proposal)
        recipe_lines += proposal.recipe_lines() if proposal is not None else []
    try:
        identity = calibrate(judged_pictures(screenings, decisions), limits.threshold, limits.unsure_above)
    except InputError as error:
        if not recipe_lines:
            raise
        lines = [f"Identity: {error.why}", ""]
    else:
        lines = _lines(identity)
        recipe_lines = [*identity.recipe_lines(), *recipe_lines]
    fitted_to = f"# fitted to the verdicts on {character}; another character needs limits of its own"
    told = ["", "To use the fitted limits, write into the recipe:", "", "[screening]", fitted_to, *recipe_lines]
    return [*lines, *readings, *told]


def _verdicts(store: Store, character: str, version: str) -> tuple[list[Screening], list[FinalDecision]]:
    """Screenings by this verifier and the decisions of the character's closed gates."""
    reviews = Reviews(store)
    screenings: list[Screening] = []
    decisions: list[FinalDecision] = []
    for gate in reviews.gates():
        session, closed = reviews.get(gate), reviews.closed(gate)
        if session.character != character or closed is None or session.screenings is None:
            continue
        rows = store.get_screenings(session.screenings)
        screenings += [row for row in rows if row.verifier_version == version]
        decisions += reviews.decisions(closed).decisions
    return screenings, decisions


def _lines(proposal: Proposal) -> list[str]:
    lines = [f"{proposal.same} pictures judged to show the character, {proposal.others} judged not to.", ""]
    for name, rates in (("Limits now", proposal.now), ("Limits that fit the verdicts", proposal.fitted)):
        lines.append(f"{name}: pass up to {rates.threshold:g}, fail above {rates.unsure_above:g}")
        lines += [f"  {line}" for line in rates.lines()]
        lines.append("")
    return lines
