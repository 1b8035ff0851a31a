"""The page about an injection: the sentence, then the figures behind it."""

from flenwheel_core.requests.inject import InjectResult

_GROUPS = {True: "known", False: "unknown", None: "not said"}


def injection_page(name: str, result: InjectResult) -> str:
    """Markdown: whether it works, and every method and strength, known and unknown identities apart."""
    lines = [f"# {name}, as photos show it", "", result.verdict, ""]
    lines += [
        "| method | alpha | identities | pictures | identity | prompt kept | diversity |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in result.figures:
        group = _GROUPS[row.known]
        lines.append(
            f"| {row.method} | {row.alpha:g} | {group} | {row.pictures} | {_figure(row.identity)} | {_figure(row.prompt_kept)} "
            f"| {_figure(row.diversity)} |"
        )
    return "\n".join(
        [
            *lines,
            "",
            "Identity is a cosine to held-out photos; known identities are those that the head learned from.",
            "Of a head that was made before heads named their photos nobody can say so.",
            "",
        ]
    )


def _figure(value: float | None) -> str:
    return "not measured" if value is None else f"{value:.2f}"
