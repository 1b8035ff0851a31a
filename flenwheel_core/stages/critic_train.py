"""The critic learns: seconds on a CPU, from all verdicts there are."""

from collections.abc import Sequence

import numpy as np

from flenwheel_core.base.statistics import bootstrap_interval, sign_flip_test
from flenwheel_core.critic.asking import read_critic
from flenwheel_core.critic.columns import Embeddings
from flenwheel_core.critic.ladder import SIGNIFICANCE, Learned, log_losses, means_by_unit, train_critic, units_of
from flenwheel_core.critic.logistic import Array
from flenwheel_core.critic.rungs import RUNGS, ask, fit_rung
from flenwheel_core.documents.critics import Critic, CriticLesson, CriticLessons, Looks
from flenwheel_core.requests.critic_train import CriticComparison, CriticTrainRequest, CriticTrainResult
from flenwheel_core.runner.stage import StageContext
from flenwheel_core.stages.critic_embeddings import embeddings_of
from flenwheel_core.store import Store

MOST_SURPRISING = 40
LEAST_COMPARED = 10


def critic_train(request: CriticTrainRequest, context: StageContext) -> CriticTrainResult:
    """The critic of these lessons, and how it does beside the promoted one on turns that neither has seen."""
    lessons = read_lessons(context.store, request.lessons)
    champion = read_critic(context.store, request.champion) if request.champion is not None else None
    embeddings: Embeddings = {}
    verifier = None
    if request.verifier is not None:
        embeddings, verifier = embeddings_of([lesson.image for lesson in lessons], request.verifier, context)
    if request.looks is not None:
        said = Looks.from_bytes(context.store.get_blob(request.looks), where="what the looker said").by_image()
        lessons = tuple(lesson.model_copy(update={"vision": said.get(lesson.image, ())}) for lesson in lessons)
    learned = train_critic(
        lessons,
        embeddings,
        record=request.lessons,
        verifier=verifier,
        looker=request.looker,
        step=lambda done, of: context.progress.step(done, of, "rungs"),
    )
    critic = learned.critic
    return CriticTrainResult(
        critic=context.store.put_blob(critic.to_bytes()),
        rung=critic.rung,
        lessons=critic.count,
        turns=critic.turns,
        ladder=critic.ladder,
        comparison=_compared(context.store, champion, learned, lessons, embeddings, verifier),
        worst=_surprising(learned, lessons),
    )


def read_lessons(store: Store, digest: str) -> tuple[CriticLesson, ...]:
    """The lessons of that digest."""
    return CriticLessons.from_bytes(store.get_blob(digest), where=f"the critic's lessons {digest[:12]}").lessons


def _compared(
    store: Store,
    champion: Critic | None,
    learned: Learned,
    lessons: Sequence[CriticLesson],
    embeddings: Embeddings,
    verifier: tuple[str, str] | None,
) -> CriticComparison | None:
    """None if there is nothing that neither has seen."""
    if learned.chances is None:
        return None
    if champion is None:
        before = _base_rate(lessons, learned)
        return _comparison("the share of verdicts", before, learned.chances, lessons)
    seen = {(lesson.character, lesson.turn) for lesson in read_lessons(store, champion.lessons)}
    fresh = [index for index, one in enumerate(lessons) if (one.character, one.turn) not in seen]
    readable = champion.verifier_version in (None, verifier[1] if verifier is not None else None)
    readable = readable and champion.looker is None  # its model has not looked at the new lessons
    if len(fresh) < LEAST_COMPARED or not readable or learned.critic.held_out != "turns":
        return None
    known = [lessons[index] for index in fresh]
    return _comparison("the promoted critic", ask(champion.fitted, known, embeddings), learned.chances[fresh], known)


def _base_rate(lessons: Sequence[CriticLesson], learned: Learned) -> Array:
    """The share of verdicts, held out as the new critic was."""
    found = np.zeros((len(lessons), 3))
    for fold in range(int(learned.folds.max()) + 1):
        there = np.flatnonzero(learned.folds == fold).tolist()
        known = np.flatnonzero(learned.folds != fold).tolist()
        part = [lessons[i] for i in known]
        fitted = fit_rung(RUNGS["base_rate"], part, {}, [lesson.image for lesson in part])
        found[there] = ask(fitted, [lessons[i] for i in there], {})
    return found


def _comparison(against: str, before: Array, now: Array, lessons: Sequence[CriticLesson]) -> CriticComparison:
    losses_before, losses_now = log_losses(before, lessons), log_losses(now, lessons)
    gains = means_by_unit(losses_before - losses_now, units_of(lessons))
    values = np.asarray(gains)
    interval = bootstrap_interval(len(values), lambda drawn: float(values[drawn].mean()))
    p_value = sign_flip_test(gains)
    better = interval.value > 0 and p_value < SIGNIFICANCE
    said = (
        f"On {len(lessons)} verdicts of turns that it did not learn, the new critic is {'better' if better else 'not surely better'} "
        f"than {against}: log loss {losses_now.mean():.3f} against {losses_before.mean():.3f} nats a picture "
        f"(gain {interval.value:+.3f}, 95 % {interval.low:+.3f} to {interval.high:+.3f}, p = {p_value:.3f})."
    )
    return CriticComparison(
        against=against,
        lessons=len(lessons),
        log_loss_before=float(losses_before.mean()),
        log_loss_now=float(losses_now.mean()),
        gain_low=interval.low,
        gain_high=interval.high,
        p_value=p_value,
        better=better,
        said=said,
    )


def _surprising(learned: Learned, lessons: Sequence[CriticLesson]) -> tuple[str, ...]:
    if learned.chances is None:
        return ()
    losses = log_losses(learned.chances, lessons)
    order = sorted(range(len(lessons)), key=lambda index: (-losses[index], index))
    return tuple(dict.fromkeys(lessons[index].image for index in order))[:MOST_SURPRISING]
