"""What people are told about a critic: how it does on turns it had not learned, and what it would promise."""

from flenwheel_core.base.statistics import upper_limit
from flenwheel_core.critic.calibration import Wanted, allowed_losses, goods_needed
from flenwheel_core.documents.critics import Critic
from flenwheel_core.recipes.critic import CriticRecipe
from flenwheel_core.requests.critic_train import CriticTrainResult
from flenwheel_core.store import Store


def critic_note(store: Store, trained: CriticTrainResult, recipe: CriticRecipe) -> str:
    """The comparison in sentences: for gate D and its form."""
    critic = Critic.from_bytes(store.get_blob(trained.critic), where=f"the critic {trained.critic[:12]}")
    lines = [f"{trained.summary()}."]
    if trained.comparison is not None:
        lines.append(trained.comparison.said)
    else:
        lines.append("There is nothing yet that this critic and the promoted one could both be tried on.")
    lines.append(promise_text(critic, Wanted(recipe.most_lost, recipe.confidence)))
    lines.append("Below are the verdicts that surprised it most. Reject one to leave it out of the lessons.")
    return " ".join(lines)


def promise_text(critic: Critic, wanted: Wanted) -> str:
    """What the critic could promise of all it knows, pooled."""
    pooled = next((one for one in critic.calibrations if one.level == "all"), None)
    goods = pooled.goods if pooled is not None else 0
    lost = allowed_losses(goods, wanted)
    if lost is None or pooled is None:
        needed = goods_needed(wanted)
        return f"It may set nothing aside yet: {goods} of {needed} held-out good pictures that a bound of {wanted.most_lost:.1%} asks for."
    bound = upper_limit(lost, goods, wanted.confidence)
    return f"It would lose at most {bound:.1%} of good pictures ({wanted.confidence:.0%} sure, {lost} of {goods} held-out good ones)."


def ladder_lines(critic: Critic) -> list[str]:
    """A line for each rung."""
    found = []
    for score in critic.ladder:
        figure = "" if score.log_loss is None else f" log loss {score.log_loss:.3f}"
        auc = "" if score.auc is None else f", AUC {score.auc:.2f}"
        mark = "used" if score.rung == critic.rung else "beaten" if score.used else "not used"
        found.append(f"{score.rung.replace('_', ' ')}:{figure}{auc}; {mark}; {score.why}")
    return found
