"""The page of measurements about the critic."""

from benchmarks.page import Page, Table

_RESULT = "critic"
_PUBLIC = "critic_public"
_TURN = {
    "log_loss": "log loss, nats",
    "spared_share": "looks spared",
    "good_lost_share": "good ones lost",
    "bound": "bound",
    "spared_strict_share": "spared at 2 %",
}
CRITIC = Page(
    "critic",
    "The critic",
    "Simulated reviewers of the nano world, three tastes, one verdict in ten not as the taste says. The order halves the looks, "
    "the bound holds, and a change of taste is noticed. The aim of sparing 70 % of the looks at 1 % of good ones lost is far out "
    "of reach here: even one who knew the taste could spare 46 to 59 % only, since a tenth of the verdicts is noise, and what "
    "nano's eyes see of a picture allows 24 to 29 %.",
    _RESULT,
    (
        Table(
            "What could be spared at most, with 1 % of the good ones lost?",
            "Of held-out turns, the limit chosen in hindsight, nobody audited. First by one who knows the taste itself, so that "
            "the reviewer's noise alone is in the way; then by all that screening and embeddings see, learned from the taste "
            "without noise on all other pictures; then by the rung stacked from three turns of verdicts. What is left to the "
            "tables below is the proof.",
            _RESULT,
            {
                "repetitions": "repetitions",
                "taste_known": "the taste is known",
                "all_seen_without_noise": "what is seen, without noise",
                "learned_best_limit": "learned from three turns",
            },
            having="taste_known",
        ),
        Table(
            "What does it spare, and lose, after so many turns?",
            "On turns that it did not learn; a turn is a gate of 50 pictures of each of four characters, a quarter of them good. At most "
            "5 % of the good ones may be lost, in the last column 2 %. Wavering is noise near the limit of good, slips are wrong "
            "keys anywhere: what a slip calls good looks hopeless, so that no bound spares much there. Without a bound nothing is "
            "set aside.",
            _RESULT,
            {"turn": "turns", **_TURN},
            having="log_loss",
        ),
        Table(
            "Does the bound hold?",
            "On every picture that was not learned, with an allowed loss of 5 % and 95 % confidence; beside it, on characters "
            "that the critic never met, for whom nothing is promised.",
            _RESULT,
            {
                "repetitions": "repetitions",
                "covered_share": "loss within the bound",
                "covered_low": "95 % from",
                "covered_new_share": "on new characters",
                "good_lost_share": "good ones lost, mean",
                "spared_share": "looks spared, mean",
            },
            having="covered_share",
        ),
        Table(
            "Does a change of taste switch it off?",
            "Gates of 50 pictures after the critic was promoted, a tenth drawn for the audit, a bound of 5 %. Beside the audit, "
            "the good pictures that are seen tell, by how low they score.",
            _RESULT,
            {
                "repetitions": "repetitions",
                "gates": "gates watched",
                "switched_off_share": "switched off",
                "switched_off_within_4_share": "within four gates",
                "gates_until_off": "gates until then, median",
            },
            having="switched_off_share",
        ),
        Table(
            "How soon are 30 good pictures found?",
            "Looks at one large gate of a character, after three turns of four characters; of one of them, or of one that the "
            "critic never met.",
            _RESULT,
            {
                "repetitions": "repetitions",
                "clicks_as_made": "as made",
                "clicks_ordered": "ordered",
                "clicks_saved_share": "saved",
            },
            having="clicks_ordered",
        ),
        Table(
            "What does the ladder make of verdicts of real people?",
            "Ratings of ImagenHub: 600 drawings of 30 subjects by DreamBooth, its LoRA, textual inversion and BLIP-Diffusion, and 1 432 "
            "edits by eight editors, by three people each; good is what had full marks for both what was asked and how it looks. Each "
            "person has a critic of their own; a fifth of the subjects or photos is held out at a time, which the critic never met. "
            "Identity is DINO's distance to the subject, or LPIPS to the photo; the models that looked had learned nothing. The gain is "
            "over the base rate; in the last column the limit is chosen in hindsight. No embeddings, since the pictures were not at hand, "
            "and no figure of FLENwheel's own pictures.",
            _PUBLIC,
            {
                "log_loss": "log loss, nats",
                "auc": "area under the curve",
                "gain": "gain, nats",
                "gain_low": "95 % from",
                "gain_high": "to",
                "spared_in_hindsight_share": "spared at 1 % lost",
            },
            having="log_loss",
        ),
        Table(
            "And with a bound of 5 %?",
            "The whole ladder on four fifths, with its bound, on the last one: 15 times. Where no bound was proven, nothing is set aside.",
            _PUBLIC,
            {
                "turns_with_a_bound": "turns with a bound, of 15",
                "spared_share": "looks spared",
                "lost": "good ones lost",
                "good": "of good ones",
                "good_lost_share": "share lost",
                "good_lost_high": "95 % up to",
            },
            having="turns_with_a_bound",
        ),
        Table(
            "How far do people agree?",
            "What one would lose who had another of the three people reject for them: the mean of the six pairs, the least and the most. "
            "About one picture in ten is good to one of them and not to the other.",
            _PUBLIC,
            {
                "good_share": "good",
                "alike_good_share": "agree on good or not",
                "spared_by_other_share": "looks spared",
                "lost_by_other_share": "good ones lost",
                "lost_by_other_least": "least",
                "lost_by_other_most": "most",
            },
            having="lost_by_other_share",
        ),
    ),
)
