"""The curve of a training's states: what they draw, from early to late, so that over-training is seen. An SVG, made by hand."""

from flenwheel_core.documents.choices import StateChoice, TriedState

WIDTH, HEIGHT = 640, 300
LEFT, RIGHT, TOP, BOTTOM = 44, 150, 34, 40
LINES = (
    ("shown", "shows what was asked", "#2b4c7e"),
    ("pass", "passes", "#b23a48"),
    ("identity", "identity", "#3a7d44"),
    ("diversity", "diversity", "#b07d2b"),
)
"""Of each line: its figure, what it is called, its colour."""


def figures(tried: TriedState, most_diverse: float) -> dict[str, float]:
    """What the curve shows of a state, each 0 to 1; diversity as a share of the most diverse state's."""
    return {
        "shown": tried.shown,
        "pass": tried.card.pass_rate,
        "identity": max(0.0, tried.card.identity),
        "diversity": tried.card.diversity / most_diverse if most_diverse else 0.0,
    }


def state_curve(choice: StateChoice) -> str:
    """SVG: a line a figure over the steps at strength 1, dots for other strengths, and marks for what was taken. Deterministic."""
    steps = [one.state.step for one in choice.tried]
    first, last = min(steps), max(steps)
    most = max(one.card.diversity for one in choice.tried)

    def x(step: int) -> float:
        span = WIDTH - LEFT - RIGHT
        return LEFT + (span if first == last else span * (step - first) / (last - first))

    def y(value: float) -> float:
        return TOP + (HEIGHT - TOP - BOTTOM) * (1 - min(1.0, max(0.0, value)))

    plain = sorted((one for one in choice.tried if one.state.strength == 1), key=lambda one: one.state.step)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
        f'<text x="{LEFT}" y="18" font-size="14">{choice.name}: states of the training</text>',
    ]
    for tick in (0.0, 0.25, 0.5, 0.75, 1.0):
        parts.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(tick):.1f}" y2="{y(tick):.1f}" stroke="#dddddd"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y(tick) + 4:.1f}" text-anchor="end">{tick:.0%}</text>')
    for step in sorted(set(steps)):
        parts.append(f'<text x="{x(step):.1f}" y="{HEIGHT - 20}" text-anchor="middle">{step}</text>')
    taken = choice.tried[choice.taken].state
    at = f"{x(taken.step):.1f}"
    parts += [
        f'<line x1="{at}" x2="{at}" y1="{TOP}" y2="{HEIGHT - BOTTOM}" stroke="#888888" stroke-dasharray="4 3"/>',
        f'<text x="{at}" y="{HEIGHT - 6}" text-anchor="middle">taken: {taken.name}</text>',
    ]
    for place, (figure, name, colour) in enumerate(LINES):
        points = " ".join(f"{x(one.state.step):.1f},{y(figures(one, most)[figure]):.1f}" for one in plain)
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>')
        for one in choice.tried:
            solid = one.state.strength == 1
            shape = f'cx="{x(one.state.step):.1f}" cy="{y(figures(one, most)[figure]):.1f}" r="{4 if solid else 2.5}"'
            parts.append(f'<circle {shape} fill="{colour if solid else "none"}" stroke="{colour}"/>')
        parts.append(f'<text x="{WIDTH - RIGHT + 12}" y="{TOP + 14 + 18 * place}" fill="{colour}">{name}</text>')
    parts.append(
        f'<text x="{WIDTH - RIGHT + 12}" y="{TOP + 14 + 18 * len(LINES)}" fill="#666666">small: other strengths</text>'
    )
    return "\n".join((*parts, "</svg>")) + "\n"


def curve_words(choice: StateChoice) -> list[str]:
    """What was taken and why, and what the course of the training looks like, in sentences."""
    taken, last = choice.tried[choice.taken], choice.tried[choice.default]
    against = (
        f"identity is measured against {choice.held_out} real pictures that nothing was trained on"
        if choice.held_out
        else "identity is measured against the sources, which are trained on: held-out pictures would tell more"
    )
    words = [f"Of {len(choice.tried)} states and strengths of {choice.name}, {taken.state.name} was taken; {against}."]
    if choice.confirmed is None:
        words.append("The last state did best on the small card; nothing was drawn to beat it.")
    else:
        best = choice.tried[choice.best].state.name
        verb = "beat" if choice.taken != choice.default else "did not beat"
        words.append(
            f"{best} did best on the small card, and {verb} the last state on further pictures. {choice.confirmed.reasons[0]}"
        )
    plain = sorted((one for one in choice.tried if one.state.strength == 1), key=lambda one: one.state.step)
    if len(plain) > 1:
        best_plain = max(plain, key=lambda one: (one.shown, one.state.step))
        if best_plain.state.step < last.state.step:
            identity = last.card.identity - best_plain.card.identity
            diversity = last.card.diversity - best_plain.card.diversity
            words.append(
                f"From step {best_plain.state.step} to {last.state.step} it shows {best_plain.shown - last.shown:.0%} less of what is "
                f"asked, identity {identity:+.3f}, diversity {diversity:+.1f}: it may be over-trained."
            )
        else:
            words.append("It shows most at its end: no over-training is seen.")
    return words
