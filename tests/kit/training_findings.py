"""A gate that tells of a choice inside a training and of a doubtful picture, written down as the stages write it."""

from flenwheel_core.base.ids import digest_bytes
from flenwheel_core.base.settings import Settings
from flenwheel_core.documents.choices import State, StateChoice, TriedState
from flenwheel_core.documents.doubts import CoursePoint, Doubt
from flenwheel_core.documents.evidence import GateEvidence
from flenwheel_core.documents.images import Sampler
from flenwheel_core.documents.loras import LoraRecord
from flenwheel_core.documents.prompts import GenerateItem
from flenwheel_core.engine.tensor_file import tensor_bytes
from flenwheel_core.evaluation.promotion.states import beats
from flenwheel_core.library.characters import Library, Promotion
from flenwheel_core.library.choices import Choices
from flenwheel_core.library.doubts import Doubts
from flenwheel_core.recipes.benchmark import BenchmarkRecipe
from flenwheel_core.recipes.screening import ScreeningRecipe
from flenwheel_core.requests.choose import ChooseRequest, ChooseResult
from flenwheel_core.runner.stage import EXPORT
from flenwheel_core.store import Store
from tests.kit.exported import export_request
from tests.kit.gate_world import CHARACTER, NOW
from tests.kit.run_here import run_here
from tests.kit.scorecards import card
from tests.kit.turn_world import FINGERPRINT


def lora_file(size: float) -> bytes:
    """A LoRA of one linear."""
    import torch

    return tensor_bytes(
        {"transformer.x.lora_A.weight": torch.ones(1, 2), "transformer.x.lora_B.weight": torch.full((2, 1), size)}
    )


def choice_made(store: Store) -> StateChoice:
    """Of three states of mira-t1-v1 the early one was best on the small card and won again."""
    files = {step: store.put_blob(lora_file(step)) for step in (200, 400)}
    states = (
        State(step=200, strength=1.0, lora=files[200]),
        State(step=400, strength=0.8, lora=files[400]),
        State(step=400, strength=1.0, lora=files[400]),
    )
    lora = LoraRecord(
        digest=files[400], name="mira-t1-v1", target="generator", base_model="nano", trigger=CHARACTER.trigger, class_word="person",
        rank=1, alpha=1, steps=400, images=12, dataset="d" * 64, request=digest_bytes(b"the training"),
    )  # fmt: skip
    item = GenerateItem(key="a", prompt="photo of ohwx_mira person", seed=1)
    request = ChooseRequest(
        character=CHARACTER.ref(), base="nano", lora=lora, states=states, pick_items=(item,), confirm_items=(item,),
        fingerprint=FINGERPRINT, verifier="subject", screening=ScreeningRecipe(), recipe=BenchmarkRecipe(), significance=0.05,
        sampler=Sampler(),
    )  # fmt: skip
    tried = tuple(
        TriedState(state=state, card=card(passed=passed, diversity=diversity, lora=state.lora))
        for state, passed, diversity in zip(states, (20, 12, 10), (12.0, 10.0, 8.0), strict=True)
    )
    confirmed = beats(card(passed=8), card(passed=19), BenchmarkRecipe(), 0.05)
    choice = StateChoice(
        name=lora.name, training=lora.request, tried=tried, taken=0, best=0, confirmed=confirmed, held_out=3
    )
    taken = lora.model_copy(update={"digest": files[200], "steps": 200})
    store.put_request(request)
    store.put_result(request, ChooseResult(lora=taken, choice=choice))
    Choices(store, "mira").add(request)
    return choice


def champion_of_states(store: Store, settings: Settings) -> LoraRecord:
    """The chosen state of `choice_made` was promoted by its turn, and exported with its benchmark."""
    choice_made(store)
    _, chosen = Choices(store, "mira").find()
    promotion = Promotion(at=NOW, lora=chosen.lora, scorecard=card(), turn=1, flow_run="run-1")
    Library(store).promote("mira", promotion)
    request = export_request(store).model_copy(update={"lora": chosen.lora, "choice": chosen.choice})
    run_here(EXPORT, request, settings, lambda event: None)
    return chosen.lora


def doubt_raised(store: Store, image: str) -> Doubt:
    """A picture of the pool of which little was learned."""
    doubt = Doubt(
        image=image,
        training="mira-t1-v1",
        course=(CoursePoint(step=20, gain=0.12, usual=0.61),),
        deviations=5.2,
        like="heads like it",
    )
    Doubts(store, "mira").raise_([doubt])
    return doubt


def evidence(store: Store, image: str) -> str:
    """The blob of both, for a gate's session."""
    return store.put_blob(GateEvidence(choice=choice_made(store), doubts=(doubt_raised(store, image),)).to_bytes())
