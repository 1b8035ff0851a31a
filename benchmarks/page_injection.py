"""The page of measurements about injection."""

from benchmarks.page import Page, Table

_FIGURES = {
    "identity": "identity",
    "prompt_kept": "prompt there",
    "diversity": "diversity",
    "copy_paste": "copying",
    "pictures": "pictures",
}
_STRENGTHS = ("0", "1", "2", "3")


def _cases(group: str) -> dict[str, str]:
    found = {f"flow_{group}_{alpha}": f"injection at alpha {alpha}" for alpha in _STRENGTHS}
    found[f"flow_{group}_0"] = "alpha 0: no injection"
    found |= {f"shuffled_{group}_{alpha}": f"another's photos at alpha {alpha}" for alpha in _STRENGTHS[1:]}
    found |= {f"oracle_{group}_{alpha}": f"oracle at alpha {alpha}" for alpha in _STRENGTHS[1:]}
    return found | {f"caption_{group}": "described in words", f"editor_{group}": "the editor, given a photo"}


INJECTION = Page(
    "injection",
    "Injection: who a photo shows, before any LoRA",
    "Identity over another's photos, where 0.30 at an unharmed prompt is called working: for characters that the head never saw "
    "{gain_flow_unknown.identity_over_shuffled:+.2f}; for those that it learned from {gain_regression_known.identity_over_shuffled:+.2f} "
    "after captions alone, and {gain_flow_known.identity_over_shuffled:+.2f} after pictures as well. In the nano world, on nano FLUX, with "
    "the head trained on a CPU; nothing was tried at full size yet.",
    "injection",
    (
        Table(
            "Does it work for characters that the head never saw?",
            "Means over pictures: identity is the cosine to photos that nothing was made from; what of the prompt is there (pose, angle, "
            "expression, background, lighting) is read by the nano reader; diversity is the share of really different pictures among "
            "those of one prompt; copying is the likeness to the nearest photo seen, minus identity. "
            "The oracle is the residual itself, learned for some of these characters: the best that a head could do in this place. "
            "A LoRA of twelve pictures reaches 0.93 ([nano_learning](nano.md)), after a minute and a half of training for each "
            "character.",
            "injection",
            _FIGURES,
            _cases("unknown"),
            "injection.svg",
        ),
        Table(
            "And for those that it learned from?",
            "The same, on some of the characters whose photos the head was trained with. Rows of the picture: two of these, then two "
            "that it never saw; columns: a photo, no injection, and alpha 1, 2, 3, with one prompt and seed.",
            "injection",
            _FIGURES,
            _cases("known"),
            "injection_grid.webp",
        ),
        Table(
            "What do captions alone teach the head?",
            "The first stage, regression to what a description adds to a caption's embeddings, without the second, flow matching "
            "through the frozen transformer. One seed a prompt.",
            "injection",
            {name: said for name, said in _FIGURES.items() if name != "diversity"},
            {
                f"regression_{group}_{alpha}": f"{group} characters, alpha {alpha}"
                for group in ("known", "unknown")
                for alpha in _STRENGTHS
            },
        ),
        Table(
            "How much of an identity does it bring?",
            "Identity over that of another's photos, at the strength that is best among those that keep the prompt within two points: for "
            "characters that it learned from, pictures after captions cost so much of the prompt at the stronger ones that only alpha "
            "{gain_flow_known.alpha:g} is left. The strengths were 0.5, 1 and 1.5 at first and were raised; the same characters were drawn "
            "again, so that the best strength is chosen by the characters that it is told of. "
            "After captions and pictures: {verdict_flow.verdict} After captions alone: {verdict_regression.verdict}",
            "injection",
            {
                "alpha": "alpha",
                "identity_over_shuffled": "identity over another's photos",
                "prompt_lost": "prompt lost",
                "works": "0.30 or more",
            },
            {
                "gain_regression_known": "captions alone, known",
                "gain_regression_unknown": "captions alone, unknown",
                "gain_flow_known": "captions and pictures, known",
                "gain_flow_unknown": "captions and pictures, unknown",
            },
        ),
        Table(
            "What was trained, and how long did it take?",
            "On one thread of a processor that others used too. All rows of this page come from three runs of the command, each with "
            "one of its `--parts`: the oracle, captions and pictures, captions alone.",
            "injection",
            {"identities": "characters", "photos": "photos", "steps": "steps", "training_seconds": "training, s"},
            {
                "training_oracle": "the oracle",
                "training_regression": "the head, captions alone",
                "training_flow": "the head, captions and pictures",
            },
        ),
    ),
)
