"""Where a picture or a LoRA comes from, and how to make it again."""

import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from flenwheel_core.base.errors import InputError, NotFoundError
from flenwheel_core.base.ids import digest_bytes, short
from flenwheel_core.base.progress import Sink
from flenwheel_core.base.settings import Settings
from flenwheel_core.documents.images import ImageKind, ImageRecord
from flenwheel_core.documents.loras import LoraRecord
from flenwheel_core.gates.session import Reviews
from flenwheel_core.library.characters import Library
from flenwheel_core.library.choices import Choices
from flenwheel_core.library.editors import EditorLibrary
from flenwheel_core.requests.base import StageRequest, StageResult
from flenwheel_core.requests.choose import ChooseResult
from flenwheel_core.requests.edit_train import EditTrainResult
from flenwheel_core.requests.inject import InjectRequest
from flenwheel_core.requests.train import TrainResult
from flenwheel_core.requests.vl_train import VlTrainResult
from flenwheel_core.runner.launch import run_in_child
from flenwheel_core.runner.stage import find_stage
from flenwheel_core.runner.stage_runs import StageRun, stage_runs
from flenwheel_core.store import Store
from flenwheel_core.store.links import digests_in, reachable
from flenwheel_core.store.pictures import load_picture

_TRAINED: dict[str, type[TrainResult] | type[EditTrainResult] | type[VlTrainResult] | type[ChooseResult]] = {
    "train": TrainResult,
    "edit_train": EditTrainResult,
    "vl_train": VlTrainResult,
    "choose": ChooseResult,
}
_STAGE_OF = {"generator": "train", "editor": "edit_train", "captioner": "vl_train"}
"""Which stage makes a LoRA for what."""


@dataclass(frozen=True)
class Lineage:
    """One picture or LoRA with its facts, and what it was made from."""

    kind: str
    digest: str
    facts: tuple[tuple[str, str], ...]
    parents: "tuple[Lineage, ...]" = field(default=())

    def lines(self, depth: int = 0) -> list[str]:
        """The lineage as an indented text."""
        pad = "  " * depth
        rows = [f"{pad}{self.kind} {short(self.digest)}"]
        rows += [f"{pad}  {key}: {value}" for key, value in self.facts]
        for parent in self.parents:
            rows += parent.lines(depth + 1)
        return rows


class Provenance:
    """Looks things up in the records of a store. Reads all image sets once."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._images: dict[str, ImageRecord] | None = None
        self._loras: dict[str, LoraRecord] | None = None

    def images(self) -> dict[str, ImageRecord]:
        """Every picture of the store."""
        if self._images is None:
            found: dict[str, ImageRecord] = {}
            for path in self.store.files.list("tables/images"):
                for record in self.store.get_images(path.rsplit("/", 1)[-1].removesuffix(".parquet")):
                    found.setdefault(record.digest, record)
            library = Library(self.store)
            for name in library.characters():
                for entry in library.pool(name):
                    found.setdefault(entry.image.digest, entry.image)
            self._images = found
        return self._images

    def loras(self) -> dict[str, LoraRecord]:
        """Every trained LoRA of the store."""
        if self._loras is None:
            self._loras = {}
            for stage, kind in _TRAINED.items():
                for path in self.store.files.list(f"stages/{stage}"):
                    if path.endswith("/manifest.json"):
                        lora = kind.from_bytes(self.store.files.read(path), where=path).lora
                        self._loras.setdefault(lora.digest, lora)
            library = Library(self.store)  # a state that a person took is no stage's own result
            for name in library.characters():
                for promotion in library.champions(name):
                    self._loras.setdefault(promotion.lora.digest, promotion.lora)
                for taken in Choices(self.store, name).all_taken():
                    self._loras.setdefault(taken.lora.digest, taken.lora)
        return self._loras

    def find(self, id_: str) -> ImageRecord | LoraRecord:
        """The picture or LoRA whose digest begins with `id_`; raises NotFoundError, or InputError if there are several."""
        id_ = id_.lower()
        hits = [
            record
            for table in (self.images(), self.loras())
            for digest, record in table.items()
            if digest.startswith(id_)
        ]
        if not hits or not id_:
            raise NotFoundError(
                f"Nothing here has an id that begins with {id_!r}.",
                remedy="Give the first characters of a picture's or LoRA's digest; the gallery and reports show them.",
            )
        if len(hits) > 1:
            names = ", ".join(short(hit.digest) for hit in hits[:5])
            raise InputError(f"{len(hits)} ids begin with {id_!r}: {names}.", remedy="Give more characters.")
        return hits[0]

    def lineage(self, id_: str) -> Lineage:
        """All that is known of a picture or LoRA, and of what it was made from."""
        record = self.find(id_)
        return self._lora(record) if isinstance(record, LoraRecord) else self._image(record, set())

    def _lora(self, record: LoraRecord) -> Lineage:
        facts = [(key, str(value)) for key, value in record.model_dump(mode="json").items() if key != "digest"]
        facts += self._run_facts(_stage_of(record), record.request)
        library = Library(self.store)
        for name in library.characters():
            for promotion in library.champions(name):
                if promotion.lora.digest == record.digest:
                    card = promotion.scorecard
                    facts.append((f"champion of {name}", f"turn {promotion.turn}, pass rate {card.pass_rate:.0%}"))
                    if consent := library.consent(name):
                        facts.append(("whose face", consent.text()))
        for promoted in EditorLibrary(self.store).champions():
            if promoted.lora.digest == record.digest:
                facts.append(("worn by the editor", f"held-out edits passed {promoted.scorecard.pass_rate:.0%}"))
        request = self._request(_stage_of(record), record.request)
        named = digests_in(request.to_bytes())
        if record.target == "editor":
            named |= digests_in(self.store.get_blob(record.dataset))
        images = [digest for digest in named if digest in self.images()]
        parents = tuple(self._image(self.images()[digest], set()) for digest in sorted(images))
        return Lineage("LoRA", record.digest, tuple(facts), parents)

    def _image(self, record: ImageRecord, seen: set[str]) -> Lineage:
        facts = []
        for key, value in record.model_dump(mode="json").items():
            if key not in ("digest", "parents", "kind", "labels", "framing") and value not in (None, [], ""):
                facts.append((key, str(value)))
        if record.kind is ImageKind.INJECTED:
            drawn = self.store.get_request(InjectRequest, record.request)
            if drawn is not None:
                facts.append(
                    ("injected with", f"head {short(drawn.head)} at alpha {drawn.alphas[0]:g}, by {drawn.features}")
                )
        if record.framing is not None:
            facts.append(("framing", record.framing.text()))
        facts.append(("labels", ", ".join(str(value) for value in record.labels.model_dump().values() if value)))
        facts += self._screenings(record.digest) + self._verdicts(record.digest)
        facts += self._run_facts(record.stage, record.request)
        parents = []
        for digest in record.parents:
            if digest in self.images() and digest not in seen:
                parents.append(self._image(self.images()[digest], seen | {record.digest}))
        for use in record.loras:
            if use.digest in self.loras():
                lora = self.loras()[use.digest]
                parents.append(Lineage("LoRA", lora.digest, (("name", lora.name), ("steps", str(lora.steps)))))
        return Lineage(f"{record.kind.value} image", record.digest, tuple(facts), tuple(parents))

    def _screenings(self, digest: str) -> list[tuple[str, str]]:
        facts = []
        for path in self.store.files.list("tables/screenings"):
            for row in self.store.get_screenings(path.rsplit("/", 1)[-1].removesuffix(".parquet")):
                if row.image == digest:
                    reasons = ", ".join(reason.code for reason in row.reasons)
                    score = "" if row.distance is None else f", distance {row.distance:.3f}"
                    facts.append(
                        ("screening", f"{row.outcome} ({reasons}){score} by {row.verifier} {row.verifier_version[:12]}")
                    )
        return facts

    def _verdicts(self, digest: str) -> list[tuple[str, str]]:
        facts = []
        reviews = Reviews(self.store)
        for gate in reviews.gates():
            closed = reviews.closed(gate)
            if closed is None:
                continue
            for decision in reviews.decisions(closed).decisions:
                if decision.image == digest:
                    why = f" ({', '.join(decision.reasons)})" if decision.reasons else ""
                    facts.append(("verdict", f"{decision.verdict.value}{why} by {decision.author} at gate {gate}"))
        return facts

    def _run_facts(self, stage: str, request: str) -> list[tuple[str, str]]:
        run = self._finished_run(stage, request)
        if run is None:
            return []
        facts = [("made", f"{run.at:%Y-%m-%d %H:%M:%S} UTC on {run.host} in {run.seconds or 0:.1f} s")]
        if run.flow_run:
            facts.append(("flow run", run.flow_run))
        if run.peak_vram_gib is not None:
            facts.append(("peak VRAM", f"{run.peak_vram_gib:.2f} GiB"))
        if run.versions:
            facts.append(("versions", ", ".join(f"{key} {value}" for key, value in run.versions.items())))
        return facts

    def _finished_run(self, stage: str, request: str) -> StageRun | None:
        found = None
        for run in stage_runs(self.store).read():
            if run.request == request and run.stage == stage and run.event == "finished":
                found = run
        return found

    def _request(self, stage: str, key: str) -> StageRequest:
        path = f"stages/{stage}/{key}/request.json"
        try:
            data = self.store.files.read(path)
        except FileNotFoundError as error:
            raise NotFoundError(
                f"The request {short(key)} of the stage {stage} is not in this store.",
                remedy="It was made in another workspace, or its folder was removed.",
            ) from error
        return find_stage(stage).request.from_bytes(data, where=path)


def _stage_of(record: LoraRecord) -> str:
    return _STAGE_OF[record.target]


@dataclass(frozen=True)
class Reproduction:
    """What came of making something again."""

    identical: bool
    detail: str


def reproduce(settings: Settings, id_: str, sink: Sink) -> Reproduction:
    """Makes a picture or LoRA again from its recorded request, in a workspace of its own, and compares."""
    store = Store(settings.store_url, settings.store_options)
    provenance = Provenance(store)
    record = provenance.find(id_)
    stage = find_stage(_stage_of(record) if isinstance(record, LoraRecord) else record.stage)
    request = provenance._request(stage.name, record.request)
    if isinstance(record, ImageRecord) and hasattr(request, "items"):
        wanted = tuple(item for item in request.items if item.key == record.item)
        request = request.model_copy(update={"items": wanted})
    folder = Path(tempfile.mkdtemp(prefix="reproduce-", dir=settings.root))
    try:
        again = settings.model_copy(update={"workspace": folder, "store": None})
        copy_inputs(store, Store(again.store_url), request)
        result = run_in_child(stage, request, again, sink)
        return _compare(record, result, store, Store(again.store_url))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def copy_inputs(source: Store, target: Store, request: StageRequest) -> None:
    """Copies all that a request names from one store to another."""
    # The editor's training names its pictures in a blob of triplets.
    for digest in reachable(source, digests_in(request.to_bytes()), into_blobs=request.stage == "edit_train"):
        for path in (
            f"blobs/{digest[:2]}/{digest}",
            f"tables/images/{digest}.parquet",
            f"tables/screenings/{digest}.parquet",
        ):
            if source.files.exists(path):
                target.files.create(path, source.files.read(path))


def _compare(record: ImageRecord | LoraRecord, result: StageResult, old: Store, new: Store) -> Reproduction:
    import numpy as np
    from PIL import ImageChops

    if isinstance(record, LoraRecord):
        assert isinstance(result, TrainResult | EditTrainResult | VlTrainResult)
        made_again = _state(record, result, new) if isinstance(result, TrainResult) else result.lora.digest
        same = made_again == record.digest
        return Reproduction(same, f"{short(made_again)} is {'the same file' if same else 'another file'}")
    made = [row for row in new.get_images(str(getattr(result, "images", ""))) if row.item == record.item]
    if not made:
        return Reproduction(False, f"the stage made no {record.item}")
    difference = ImageChops.difference(load_picture(old, record.digest), load_picture(new, made[0].digest))
    largest = int(np.asarray(difference).max())
    return Reproduction(largest == 0, "the same pixels" if largest == 0 else f"pixels differ by up to {largest} of 255")


def _state(record: LoraRecord, result: TrainResult, new: Store) -> str:
    """The digest of the state of a training that a LoRA is, at its strength."""
    from flenwheel_core.adapters.strength import at_strength

    states = {**{one.step: one.lora for one in result.kept}, result.lora.steps: result.lora.digest}
    found = states.get(record.steps, result.lora.digest)
    return found if record.strength == 1 else digest_bytes(at_strength(new.get_blob(found), record.strength))
