"""The page of measurements about injection."""

from benchmarks.page import Page, Table

_FIGURES = {
    "alpha": "alpha",
    "identity": "identity",
    "prompt_kept": "prompt there",
    "diversity": "diversity",
    "copy_paste": "copying",
    "pictures": "pictures",
}
_STRENGTHS = ("0.7", "1", "1.5", "2", "3")


def _cases(group: str) -> dict[str, str]:
    return {
        f"none_flow_{group}": "no injection",
        f"flow_{group}": "injection",
        f"shuffled_flow_{group}": "another's photos",
        f"regression_{group}": "injection, the head from captions alone",
        f"shuffled_regression_{group}": "another's photos, the head from captions alone",
    }


_ORACLES = {
    f"oracle_{place}_{alpha}": said
    for place, said in (
        ("phrase", "oracle"),
        ("both", "oracle, on every token and on tokens of its own"),
        ("tokens", "oracle, on the word and on tokens of its own only"),
    )
    for alpha in ("1", "1.5")
}


def _others(group: str) -> dict[str, str]:
    return {
        f"caption_{group}": "described in words",
        f"editor_{group}": "the editor, given a photo",
        f"lora_{group}": "a LoRA of the same photos, of some of them",
    }


INJECTION = Page(
    "injection",
    "Injection: who a photo shows, before any LoRA",
    "Identity over another's photos, where 0.30 at an unharmed prompt is called working, with 95 % intervals over characters: for those "
    "that the head never saw {gain_flow_unknown.identity_over_shuffled:+.2f} ({gain_flow_unknown.low:+.2f} to "
    "{gain_flow_unknown.high:+.2f}); for those that it learned from {gain_flow_known.identity_over_shuffled:+.2f} "
    "({gain_flow_known.low:+.2f} to {gain_flow_known.high:+.2f}). In the nano world, on nano FLUX, after minutes of training.",
    "injection",
    (
        Table(
            "Does it work for characters that the head never saw?",
            "Means over pictures: identity is the cosine to photos that nothing was made from; what of the prompt is there (pose, angle, "
            "expression, background, lighting) is read by the nano reader; diversity is the share of really different pictures among "
            "those of one prompt; copying is the likeness to the nearest photo seen, minus identity. "
            "The strength was chosen on other characters (below), and nothing was chosen on these. "
            "A LoRA of twelve pictures reaches 0.94 in the harder nano world 2 ([nano_learning](nano.md)).",
            "injection",
            _FIGURES,
            _cases("unknown") | _others("unknown"),
        ),
        Table(  # a table of its own: it is there only where an oracle was learned
            "What is the best that a head could do in this place?",
            "The oracle: the residual itself, learned for some of these characters.",
            "injection",
            _FIGURES,
            _ORACLES,
        ),
        Table(
            "And for those that it learned from?",
            "The same, on some of the characters whose photos the head was trained with, at the strength chosen for unknown ones.",
            "injection",
            _FIGURES,
            _cases("known") | _others("known"),
        ),
        Table(
            "At which strength?",
            "Chosen on unknown characters that are not among those above: the strength with the largest identity over another's photos "
            "among those that lose at most two points of the prompt. One seed a prompt.",
            "injection",
            {name: said for name, said in _FIGURES.items() if name != "diversity"},
            {f"choice_flow_{alpha}": "injection" for alpha in ("0", *_STRENGTHS)}
            | {f"shuffled_choice_flow_{alpha}": "another's photos" for alpha in _STRENGTHS}
            | {f"choice_regression_{alpha}": "injection, the head from captions alone" for alpha in ("0", *_STRENGTHS)}
            | {
                f"shuffled_choice_regression_{alpha}": "another's photos, the head from captions alone"
                for alpha in _STRENGTHS
            },
        ),
        Table(
            "How much of an identity does it bring?",
            "Identity over that of another's photos, picture by picture, at the chosen strength, with 95 % intervals over characters. "
            "{verdict_flow.verdict}",
            "injection",
            {
                "alpha": "alpha",
                "identity_over_shuffled": "identity over another's photos",
                "low": "from",
                "high": "to",
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
            "By which parts of a description does the base know somebody again?",
            "True embeddings of a described prompt, put behind the same prompt without a description; nothing is predicted. "
            "{described.characters} other unknown characters, three prompts, one seed; `least` is that of the character who gets least.",
            "injection_parts",
            {"identity": "identity", "least": "least"},
            {
                "plain": "nothing",
                "described": "the described prompt alone",
                "pooled_alone": "CLIP's pooled vector alone",
                "description": "the description's tokens",
                "description_pooled": "the description's tokens, and the pooled vector",
                "phrase": "the four tokens before it, too",
                "phrase_pooled": "the four tokens before it, and the pooled vector",
                "phrase_slots": "the same, the description's tokens in 24 slots: what a head is to hit",
            },
        ),
        Table(
            "How should a head learn?",
            "A search over rates, weights and noise, each trial a short training on the same 60 characters, scored on 10 others, two "
            "prompts, one seed, at alpha 1. The first trial is the default. Trial {best_against_default.trial} has the largest identity "
            "over another's photos, {best_against_default.identity_over_default:+.2f} over the default's "
            "(p = {best_against_default.p:.2f} over characters). Measured with place `both`, before there were phrases: it says nothing of "
            "today's default.",
            "injection_search",
            {
                "learning_rate": "rate, captions",
                "flow_rate": "rate, pictures",
                "cosine": "direction",
                "pull": "pull",
                "logit_mean": "noise",
                "identity_over_shuffled": "identity over another's photos",
            },
            {f"trial_{number}": f"trial {number}" for number in range(1, 4)},
        ),
        Table(
            "And at full size?",
            "Qwen-Image and Qwen3-VL-8B with random weights, within 24 GiB: a training step of the head on pictures (512 x 768, batch 1) "
            "through the frozen transformer, and from photos to the first grid (3 strengths, 3 seeds and a row without, 28 steps with "
            "guidance). Other work was on the machine's processor.",
            "injection_step",
            {
                "step_seconds": "s a step",
                "picture_seconds": "s a picture",
                "first_item_seconds": "s to the first",
                "whole_seconds": "s in all",
                "peak_gib": "peak, GiB",
            },
            {"training": "60 steps of training", "first grid": "the first grid, 12 pictures"},
        ),
        Table(
            "What was trained, and how long did it take?",
            "On one thread of a processor that others used too. What photos say was kept from runs that were cut off, so that seconds are "
            "those of learning more than of looking.",
            "injection",
            {"identities": "characters", "photos": "photos", "steps": "steps", "training_seconds": "training, s"},
            {
                "training_oracle_phrase": "the oracle",
                "training_oracle_both": "the oracle, on every token and on tokens of its own",
                "training_oracle_tokens": "the oracle, on the word and on tokens of its own only",
                "training_regression": "the head, captions alone",
                "training_flow": "the head, captions and pictures",
            },
        ),
    ),
)
