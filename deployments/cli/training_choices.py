"""The commands about what trainings found: `choose` takes another state of a LoRA, `doubts` decides about doubtful pictures."""

from cyclopts import App

from deployments.cli.terminal import plain_console, progress_sink
from flenwheel_core.base.errors import InputError
from flenwheel_core.base.ids import Digest, short
from flenwheel_core.base.settings import Settings
from flenwheel_core.evaluation.state_curve import curve_words
from flenwheel_core.library.characters import Library
from flenwheel_core.library.choices import Choices
from flenwheel_core.library.doubts import Doubts
from flenwheel_core.records.exports import export_again, has_export
from flenwheel_core.runner.launch import run_in_child
from flenwheel_core.runner.stage import EXPORT
from flenwheel_core.store import Store

console = plain_console()


def add_to(app: App) -> None:
    """Adds these commands to the `flenwheel` command."""
    app.command(choose)
    app.command(doubts)


def choose(
    character: str,
    lora: str | None = None,
    *,
    step: int | None = None,
    strength: float | None = None,
    by: str | None = None,
    why: str = "",
) -> None:
    """Show which state of a training became the LoRA, and take another one.

    A turn that waits at a gate goes on with it. Where the LoRA is the champion, the state becomes the champion and is exported.

    Parameters
    ----------
    character
        The character's name.
    lora
        The LoRA's name, such as mira-t1-v1; the newest one whose states were tried, if not given.
    step
        Take the state after this step; the last step if only a strength is given.
    strength
        Take it at this strength; 1 if not given. It goes into the file, which is then used at 1.
    by
        Who says so; the setting `author` if not given.
    why
        A reason, for the record.
    """
    settings = Settings()
    store = Store(settings.store_url, settings.store_options)
    Library(store).character(character)
    choices = Choices(store, character)
    request, result = choices.find(lora)
    if step is None and strength is None:
        for line in curve_words(result.choice):
            console.print(line, markup=False)
        standing = choices.taken(request.lora)
        for place, one in enumerate(result.choice.tried):
            chosen = (
                place == result.choice.taken
                if standing is None
                else (standing.step, standing.strength) == (one.state.step, one.state.strength)
            )
            card = one.card
            console.print(
                f"{'*' if chosen else ' '} step {one.state.step:>6}  strength {one.state.strength:<4g}  shows {one.shown:4.0%}  passes "
                f"{card.pass_rate:4.0%}  identity {card.identity:.3f}  diversity {card.diversity:.1f}",
                markup=False,
            )
        if standing is not None:
            console.print(f"Taken by {standing.by}. {standing.why}".strip(), markup=False)
        return
    taken = choices.overrule(lora, step, strength, by=by or settings.author, why=why)
    console.print(
        f"{taken.lora.name}: step {taken.step} at strength {taken.strength:g} ({short(taken.lora.digest)}).",
        markup=False,
    )
    champion = Library(store).champion(character)
    if champion is None or champion.lora != taken.lora:
        console.print("If the turn that made it is still open, it goes on with it from its next step.")
        return
    again = export_again(store, character)
    if again is not None:
        with progress_sink() as sink:
            run_in_child(EXPORT, again, settings, sink)
    if again is not None or has_export(store, taken.lora.digest):
        console.print(f"It is the champion now, and exported: flenwheel export {character} FOLDER.")
    else:
        console.print("It is the champion now. The turn that made it has not exported it yet, and does so as it ends.")


def doubts(
    character: str, *, keep: list[str] | None = None, leave_out: list[str] | None = None, by: str | None = None
) -> None:
    """Show which pictures of the training pool a training found doubtful, and decide about them.

    Nothing leaves the pool: a picture that is left out is not trained on from the next training on, and can be kept again.

    Parameters
    ----------
    character
        The character's name.
    keep
        First characters of the digest of a picture that is to be trained on; may be given several times.
    leave_out
        Likewise, of one that is not.
    by
        Who says so; the setting `author` if not given.
    """
    settings = Settings()
    store = Store(settings.store_url, settings.store_options)
    Library(store).character(character)
    found = Doubts(store, character)
    who = by or settings.author
    wanted = [(_image(found, id_), True) for id_ in keep or ()] + [
        (_image(found, id_), False) for id_ in leave_out or ()
    ]
    for image, kept in wanted:
        found.decide(image, keep=kept, by=who)
    newest, decided = {one.image: one for one in found.raised()}, found.decided()
    if not newest:
        console.print(
            f"No training of {character} has found a doubtful picture. The recipe looks for them with doubts.look."
        )
    for image, doubt in newest.items():
        line = decided.get(image)
        state = "nobody has decided" if line is None else f"{'kept' if line.keep else 'left out'} by {line.by}"
        console.print(f"{short(image)}  {state}", markup=False)
        for sentence in doubt.sentences():
            console.print(f"    {sentence}", markup=False)


def _image(found: Doubts, id_: str) -> Digest:
    """Raises InputError for an id that begins none or several of the doubtful pictures."""
    known = sorted({one.image for one in found.raised() if id_ and one.image.startswith(id_.lower())})
    if len(known) != 1:
        raise InputError(
            f"{len(known) or 'No'} doubtful pictures begin with {id_!r}.",
            remedy="Give the first characters of one, as `flenwheel doubts NAME` shows them.",
        )
    return known[0]
