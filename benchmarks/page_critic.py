"""The page of measurements about the critic."""

from benchmarks.page import Page, Table

_RESULT = "critic"
_TURN = {
    "log_loss": "log loss, nats",
    "spared_share": "looks spared",
    "most_to_spare": "hopeless, outside of the audit",
    "good_lost_share": "good ones lost",
    "bound": "bound",
}
CRITIC = Page(
    "critic",
    "The critic",
    "Simulated reviewers of the nano world, three tastes, one verdict in ten not as the taste says. After three turns the ladder tells "
    "good from bad well enough to order by, but a proven loss of 2 % at most spares hardly any look: noise puts good verdicts anywhere.",
    _RESULT,
    (
        Table(
            "What does it spare, and lose, after so many turns?",
            "On turns that it did not learn; a turn is a gate of 50 pictures of each of four characters, a quarter of them good. At most "
            "2 % of the good ones may be lost. Wavering is noise near the limit of good, slips are wrong keys anywhere: what a slip "
            "calls good looks hopeless, so that no bound of 2 % spares much there. Without a bound nothing is set aside.",
            _RESULT,
            {"turn": "turns", "rung": "rung", **_TURN},
            having="log_loss",
        ),
        Table(
            "Does the bound hold?",
            "On every picture that was not learned, with an allowed loss of 5 % and 95 % confidence.",
            _RESULT,
            {
                "repetitions": "repetitions",
                "covered_share": "loss within the bound",
                "covered_low": "95 % from",
                "covered_high": "to",
                "good_lost_share": "good ones lost, mean",
                "spared_share": "looks spared, mean",
            },
            having="covered_share",
        ),
        Table(
            "Does a change of taste switch it off?",
            "Gates of 50 pictures after the critic was promoted, a tenth drawn for the audit. A critic that rejects little gives its audit "
            "little to tell.",
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
            "Looks at one large gate of a character, after three turns.",
            _RESULT,
            {
                "clicks_as_made": "as made",
                "clicks_ordered": "ordered",
                "clicks_saved_share": "saved",
            },
            having="clicks_ordered",
        ),
    ),
)
