"""Linear injection in the nano world: drawn characters that the head learned from, and others that nothing has seen.

    python -m benchmarks.quality.injection --threads 1            # what a shared processor of two cores carries: about an hour
    python -m benchmarks.quality.injection --parts head --identities 1000 --epochs 20 --batch 64 --gpu auto --work FOLDER --kept KEPT
    python -m benchmarks.quality.injection --parts flow oracle --identities 1000 --epochs 20 --batch 64 --work OTHER --kept KEPT

The second line trains the head on a card and leaves it in KEPT, a file of under 10 MB; the third draws with it, on any machine. With a
work folder that stays, a run that was cut off goes on, and rows are written after each part.

The strength is chosen on some characters that the head never saw, and what is reported is drawn with others, at that strength, with an
interval over characters. Strengths are compared by identity over another's photos among those that lose at most two points of the prompt.
"""

import argparse
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.quality.injection_world import World
from benchmarks.result_file import RESULTS, Row, command_line, write_part
from flenwheel_core.injection.gains import paired_gain
from flenwheel_core.injection.measures import Gain, best_gain, verdict_of
from flenwheel_core.recipes.injection import LearningStage, Place
from flenwheel_core.requests.inject import InjectionCell, InjectionFigures, InjectionIdentity, Method

PARTS = ("head", "flow", "regression", "oracle", "lora")
ALPHAS = (0.7, 1.0, 1.5, 2.0, 3.0)
ORACLE_ALPHAS = (1.0, 1.5)
SEEDS = (1234, 5678)

Keep = Callable[[Sequence[Row]], None]


def of_head(world: World, after: LearningStage, keep: Keep) -> None:
    """The head after captions alone, or after captions and pictures: its strength chosen on some unknown characters, reported on others."""
    head, trained = world.head_after(after)
    keep([trained])
    tried = world.draw(world.choosing, head, SEEDS[:1], ("shuffled",), alphas=ALPHAS)
    best = best_gain(tried.figures, known=False)
    assert best is not None  # verifier and shuffled pictures are there
    keep(rows_of(tried.figures, f"choice_{after}", strength=True))
    controls: tuple[Method, ...] = ("shuffled", "caption", "editor") if after == "flow" else ("shuffled",)
    drawn = (*world.known[: world.shown], *world.unknown)
    result = world.draw(drawn, head, SEEDS[: world.seeds], controls, alphas=(best.alpha,))
    keep([*rows_of(result.figures, after), *gains(result.cells, drawn, after, best.alpha)])


def of_oracle(world: World, count: int, steps: int, keep: Keep) -> None:
    """What the residual itself, learned for some unknown characters, would bring: the best that a head could do."""
    bounded = world.unknown[:count]
    quick = world.learning.model_copy(
        update={
            "stages": ("regression",),
            "epochs": 0.1,
            "batch_size": 4,
            "oracle_steps": steps * count,
            "oracle_rate": 0.005 if world.head.place == "phrase" else 0.05,  # a phrase begins with its description
        }
    )
    trained, first = world.train(bounded, quick)
    keep([first])
    result = world.draw(
        bounded, trained.head, SEEDS[: world.seeds], ("oracle",), alphas=ORACLE_ALPHAS, oracle=trained.oracle
    )
    place = world.head.place
    keep([row(one, f"oracle_{place}", strength=True) for one in result.figures if one.method == "oracle"])


def of_loras(world: World, count: int, keep: Keep) -> None:
    """The same prompts and seeds with a LoRA of some of the unknown characters, each trained on the photos that the head is shown."""
    head, _ = world.head_after("regression")
    found = [
        cell
        for one in world.unknown[:count]
        for cell in world.draw((one,), head, SEEDS[: world.seeds], ("lora",), alphas=(1.0,), lora=world.lora(one)).cells
        if cell.method == "lora"
    ]
    likeness, kept = (
        [value for cell in found if (value := getattr(cell, name)) is not None] for name in ("likeness", "kept")
    )
    keep(
        [
            {
                "case": "lora_unknown",
                "alpha": 0.0,
                "characters": count,
                "pictures": len(found),
                "identity": sum(likeness) / len(likeness),
                "prompt_kept": sum(kept) / len(kept),
            }
        ]
    )


def measure(arguments: argparse.Namespace, work: Path, keep: Keep) -> None:
    """The parts that the command line names; `keep` is given rows as soon as there are some."""
    world = World.of(arguments, work)
    if "head" in arguments.parts and "flow" not in arguments.parts:
        keep([world.head_after("flow")[1]])
    if "flow" in arguments.parts:
        of_head(world, "flow", keep)
    if "regression" in arguments.parts:
        of_head(world, "regression", keep)
    if "oracle" in arguments.parts:
        of_oracle(world, arguments.oracles, arguments.oracle_steps, keep)
    if "lora" in arguments.parts:
        of_loras(world, arguments.loras, keep)


def rows_of(figures: Sequence[InjectionFigures], after: str, *, strength: bool = False) -> list[Row]:
    """A row of each; those of the injection tell the identity of shuffled photos at the same strength beside their own."""
    shuffled = {(one.alpha, one.known): one.identity for one in figures if one.method == "shuffled"}
    found = []
    for one in figures:
        made = row(one, after, strength=strength)
        if one.method == "injection" and (one.alpha, one.known) in shuffled:
            made["identity_shuffled"] = shuffled[one.alpha, one.known]
        found.append(made)
    return found


def row(figures: InjectionFigures, after: str, *, strength: bool = False) -> Row:
    """Such as `flow_unknown`, `shuffled_flow_unknown`, `none_flow_unknown` (alpha 0), `caption_unknown`; `strength`: with its alpha."""
    group = "known" if figures.known else "unknown"
    said: list[str] = [after]
    if figures.method in ("caption", "editor"):
        said = [figures.method]
    elif figures.method == "shuffled":
        said = ["shuffled", after]
    elif not figures.alpha and not strength:
        said = ["none", after]
    said.append(f"{figures.alpha:g}" if strength else group)
    return {
        "case": "_".join(said),
        "alpha": figures.alpha,
        "characters": figures.identities,
        "pictures": figures.pictures,
        "identity": figures.identity,
        "prompt_kept": figures.prompt_kept,
        "diversity": figures.diversity,
        "copy_paste": figures.copy_paste,
        "turned_degrees": figures.turned_degrees,
    }


def gains(cells: Sequence[InjectionCell], drawn: Sequence[InjectionIdentity], after: str, alpha: float) -> list[Row]:
    """What is claimed: identity over that of shuffled photos at this strength, over characters, and the sentence."""
    known_by = {one.name: one.known for one in drawn}
    found: list[Row] = []
    told: dict[bool, Gain] = {}
    for known in (True, False):
        own = [cell for cell in cells if known_by.get(cell.identity) is known]
        paired = paired_gain(own, alpha, over="identity")
        if paired is None:
            continue
        lost = None if paired.lost is None else paired.lost.value
        told[known] = Gain(alpha, paired.identity.value, lost, paired.control)
        found.append(
            {
                "case": f"gain_{after}_{'known' if known else 'unknown'}",
                "alpha": alpha,
                "identity_over_shuffled": paired.identity.value,
                "low": paired.identity.low,
                "high": paired.identity.high,
                "prompt_lost": lost,
                "prompt_lost_high": None if paired.lost is None else paired.lost.high,
                "characters": len({cell.identity for cell in own}),
                "works": told[known].works,
            }
        )
    return [*found, {"case": f"verdict_{after}", "verdict": verdict_of(told.get(False), told.get(True))}]


def whole_command(arguments: Sequence[str]) -> str:
    """The command that measures all rows: without the part that ran and its folders."""
    kept: list[str] = []
    left_out = False
    for argument in arguments:
        if argument.startswith("--"):
            left_out = argument.partition("=")[0] in ("--parts", "--work", "--kept")
        if not left_out:
            kept.append(argument)
    return command_line("benchmarks.quality.injection", kept)


def arguments_of(given: Sequence[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--identities", type=int, default=300, help="characters that the head learns from")
    parser.add_argument("--photos", type=int, default=6, help="photos of each")
    parser.add_argument("--epochs", type=float, default=6)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--flow-rate", type=float, help="learning rate when pictures teach; as --rate if not given")
    parser.add_argument("--pull", type=float, default=0.3, help="of the least squares that captions begin with")
    parser.add_argument("--place", choices=Place.__args__, default="phrase")  # type: ignore[attr-defined]
    parser.add_argument("--tokens", type=int, default=16)
    parser.add_argument("--cells", type=int, default=2)
    parser.add_argument("--choosing", type=int, default=12, help="unknown characters that the strength is chosen on")
    parser.add_argument("--evaluated", type=int, default=24, help="unknown characters that are reported")
    parser.add_argument("--shown", type=int, default=12, help="known characters that are reported")
    parser.add_argument("--seeds", type=int, default=2, choices=(1, 2), help="pictures of each prompt")
    parser.add_argument("--oracles", type=int, default=3, help="unknown characters whose residual itself is learned")
    parser.add_argument("--oracle-steps", type=int, default=250, help="steps for each of them")
    parser.add_argument("--loras", type=int, default=4, help="unknown characters of whom a LoRA is trained")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--gpu", default="cpu")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--work", type=Path, help="a folder that stays: a killed benchmark goes on from there")
    parser.add_argument("--kept", type=Path, help="a folder for trained heads, and to take them from")
    parser.add_argument("--out", type=Path, help="folder for the result file")
    return parser.parse_args(given)


def main(argv: Sequence[str] | None = None) -> None:
    given = list(sys.argv[1:] if argv is None else argv)
    arguments = arguments_of(given)

    def keep(rows: Sequence[Row]) -> None:
        for one in rows:
            print(one, flush=True)
        write_part("injection", rows, folder=arguments.out or RESULTS, command=whole_command(given))

    if arguments.work is not None:
        measure(arguments, arguments.work, keep)
    else:
        with tempfile.TemporaryDirectory() as work:
            measure(arguments, Path(work), keep)


if __name__ == "__main__":
    main()
