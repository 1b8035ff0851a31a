"""An exported LoRA to publish: its request, and the files as the stage `export` writes them."""

from flenwheel_core.documents.images import ImageKind, ImageRecord, Labels, Sampler
from flenwheel_core.documents.loras import LoraRecord, SampleImage
from flenwheel_core.engine.tensor_file import tensor_bytes
from flenwheel_core.requests.export import ExportedFile, ExportRequest
from flenwheel_core.requests.publish import PublishRequest, Target, What
from flenwheel_core.store import Store
from flenwheel_core.store.pictures import encode_png
from tests.kit.gate_world import CHARACTER, draw
from tests.kit.scorecards import card

SECRET = "hf_secretsecretsecret"
CHARACTER_LABELS = Labels(angle="front", expression="smiling", pose="portrait")
SAMPLER = Sampler(steps=2, guidance=1.0, width=64, height=64)


def export_request(store: Store, *, base: str = "nano@1", weights: float = 1.0) -> ExportRequest:
    """A LoRA of two sources and three edits, with a scorecard and two samples."""
    import torch

    pool = [
        ImageRecord(
            digest=f"{number:064x}", width=64, height=64, kind=kind, model=model, stage="s", request="1" * 64, item="i"
        )
        for number, (kind, model) in enumerate(
            [(ImageKind.SOURCE, None)] * 2 + [(ImageKind.ENRICHED, "Qwen/Qwen-Image-Edit-2509@main")] * 3
        )
    ]
    data = tensor_bytes({"a.lora_A.weight": torch.full((2, 2), weights)}, {"ss_sd_model_name": base, "a": "b"})
    lora = LoraRecord(
        digest=store.put_blob(data), name="mira-v1", target="generator", base_model=base, trigger=CHARACTER.trigger,
        class_word="person", rank=2, alpha=2.0, steps=4, images=5, dataset="b" * 64, request="c" * 64,
    )  # fmt: skip
    samples = tuple(
        SampleImage(
            step=step,
            prompt=f"photo of ohwx_mira person, number {number}",
            seed=42 + number,
            image=store.put_blob(encode_png(draw(CHARACTER_LABELS, step + number, 64), {"flenwheel.model": base})),
        )
        for step in (2, 4)
        for number in range(2)
    )
    return ExportRequest(
        character=CHARACTER.ref(), lora=lora, scorecard=card(jitter=0.1), samples=samples, sources="d" * 64,
        pool=store.put_images(pool), turn=1, sampler=SAMPLER,
    )  # fmt: skip


def publish_request(
    store: Store, files: tuple[ExportedFile, ...], export: ExportRequest, to: Target, place: str, what: What = "model"
) -> PublishRequest:
    return PublishRequest(export=export, files=files, what=what, to=to, place=place)
