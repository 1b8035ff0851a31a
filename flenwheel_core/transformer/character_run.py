"""What surrounds the training of a character LoRA in every family: prior pictures, sample pictures, the finished file's facts."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext

import torch
from PIL import Image

from flenwheel_core.adapters.lora_file import UiNames, file_dtype, lora_bytes, ui_facts
from flenwheel_core.adapters.peft_adapter import AdaptedTransformer
from flenwheel_core.base.ids import Json, derive_seed, digest_bytes
from flenwheel_core.base.whole_files import write_atomically
from flenwheel_core.documents.images import Sampler
from flenwheel_core.engine.cores import side_by_side
from flenwheel_core.engine.determinism import deterministic
from flenwheel_core.engine.job import SampleFile, Trained, TrainHooks, TrainJob, check_job, class_caption
from flenwheel_core.engine.loop import LoopOutcome
from flenwheel_core.engine.optimizers import require_optimizer
from flenwheel_core.engine.placed_pictures import PlacedPicture
from flenwheel_core.engine.run_job import all_looks, kept_weights
from flenwheel_core.engine.team import Team
from flenwheel_core.engine.tensor_cache import TensorCache
from flenwheel_core.engine.trackers import require_trackers
from flenwheel_core.images.buckets import bucket_report, bucket_sides, place
from flenwheel_core.store.pictures import encode_png

Draw = Callable[[str, Sampler, int], Image.Image]
"""The picture of (caption, sampler, seed) with what is loaded now."""


def check_training(job: TrainJob) -> None:
    """Raises InputError or RecipeError for a job that could not be trained, before anything loads."""
    check_job(job)
    require_optimizer(job.recipe.optimizer)
    require_trackers(job.recipe.trackers)


def repeatably(job: TrainJob, device: torch.device, train: Callable[[], Trained]) -> Trained:
    """What `train` gives; bit for bit the same at every repeat where the recipe asks for it on a card."""
    with deterministic(wanted=job.recipe.deterministic and device.type == "cuda"):
        return train()


def texts_of(job: TrainJob, team: Team, empty: str) -> tuple[list[str], list[str]]:
    """The captions with the class word, if it is to be kept, and every text that a run reads, the empty one last.

    The first process of each machine encodes them; the others wait for it here, until it calls `team.wait`.
    """
    if not team.prepares:
        team.wait()
    kept = prior_texts(job)
    return kept, [*(picture.caption for picture in job.pictures), *kept, *sample_prompts(job), empty]


def samples_of(
    job: TrainJob, hooks: TrainHooks, adapted: AdaptedTransformer, draw: Draw, *, cores: int = 1
) -> Callable[[int], Mapping[str, float]]:
    """What draws the sample pictures of a step; the transformer is out of training meanwhile.

    The first pictures are drawn without the adapter, since a new one changes nothing and it has learned from a step by then.
    With several `cores` so many pictures are drawn at once: `draw` is then called by several threads.
    """

    def sample(step: int) -> Mapping[str, float]:
        adapted.transformer.eval()
        with adapted.without_adapter() if step == 0 else nullcontext():
            figures = draw_samples(job, hooks, step, draw, cores=cores)
        adapted.transformer.train()
        return figures

    return sample


def finished(
    job: TrainJob, adapted: AdaptedTransformer, outcome: LoopOutcome, names: UiNames, reference: str
) -> Trained:
    """The file of a run that ended, those of its states that were to be kept, its curve and its samples."""
    facts, dtype = character_facts(names, job, reference), file_dtype(job.recipe.lora)
    return Trained(
        lora_bytes(outcome.weights, adapted, facts, dtype=dtype),
        outcome.losses,
        all_sample_files(job),
        tuple(
            (step, lora_bytes(kept_weights(job, step), adapted, facts | {"ss_steps": str(step)}, dtype=dtype))
            for step in job.keep_at
        ),
        all_looks(job),
    )


def placed_pictures(job: TrainJob, hooks: TrainHooks) -> list[PlacedPicture]:
    """The job's pictures in the recipe's buckets."""
    recipe = job.recipe
    sides = bucket_sides(recipe.resolution, recipe.bucket_step, aspect=recipe.aspect_buckets)
    pictures = [PlacedPicture(p.digest, place(p.load().size, sides), p.load) for p in job.pictures]
    hooks.note(f"buckets: {bucket_report([p.placement for p in pictures])}")
    return pictures


def prior_texts(job: TrainJob) -> list[str]:
    """The pictures' captions with the class word in place of the trigger."""
    prior = job.recipe.prior
    if prior.method == "off" or prior.share == 0 or job.class_word is None:
        return []
    return [class_caption(picture.caption, job.trigger, job.class_word) for picture in job.pictures]


def drawn_prior(
    job: TrainJob,
    hooks: TrainHooks,
    texts: Sequence[str],
    cache: TensorCache,
    *,
    kind: str,
    revision: str,
    draw: Draw,
    encode: Callable[[PlacedPicture], torch.Tensor],
    true_cfg: float = 1.0,
) -> list[tuple[str, torch.Tensor]]:
    """Captions with the class word, and the latents of the pictures that the base draws for them: made once, and kept.

    `kind` and `revision` name family and weights in the cache; `draw` is the base without the adapter, with `true_cfg` where the
    family needs it to draw well.
    """
    made = []
    side = job.recipe.resolution
    sampler = job.sampler.model_copy(update={"width": side, "height": side, "true_cfg": true_cfg})
    for index in range(job.recipe.prior.images if texts else 0):
        text = texts[index % len(texts)]
        seed = derive_seed(job.seed, "prior picture", index)
        key: Json = {
            "kind": kind,
            "text": text,
            "seed": seed,
            "model": revision,
            "sampler": sampler.model_dump(mode="json"),
        }
        found = cache.get(key)
        if found is None:
            hooks.note(f"drawing prior picture {index + 1} of {job.recipe.prior.images}: {text}")
            image = draw(text, sampler, seed)
            picture = PlacedPicture(digest_bytes(image.tobytes()), place(image.size, [image.size]), image.copy)
            found = {"latents": encode(picture)}
            cache.put(key, found)
        made.append((text, found["latents"]))
    return made


def sample_prompts(job: TrainJob) -> tuple[str, ...]:
    """The prompts that are drawn while training."""
    return job.sample_prompts[: job.recipe.sampling.prompts] if job.recipe.sampling.every_steps else ()


def sample_files(job: TrainJob, step: int) -> list[SampleFile]:
    """The sample pictures of a step."""
    folder = job.folder / "samples"
    return [
        SampleFile(step, prompt, job.recipe.sampling.seed + index, folder / f"{step:08d}-{index}.png")
        for index, prompt in enumerate(sample_prompts(job))
    ]


def all_sample_files(job: TrainJob) -> tuple[SampleFile, ...]:
    """The sample pictures of a whole run."""
    every = job.recipe.sampling.every_steps
    steps = [*range(0, job.recipe.steps, every), job.recipe.steps] if every else []
    return tuple(file for step in steps for file in sample_files(job, step))


def draw_samples(job: TrainJob, hooks: TrainHooks, step: int, draw: Draw, *, cores: int = 1) -> Mapping[str, float]:
    """Draws a step's sample pictures, unless they are there; their figures, if anyone gives some."""
    files = sample_files(job, step)
    missing = [file for file in files if not file.path.exists()]
    drawn = side_by_side(lambda file: draw(file.prompt, job.sampler, file.seed), missing, cores)
    for file, image in zip(missing, drawn, strict=True):
        facts = {"flenwheel.prompt": file.prompt, "flenwheel.seed": str(file.seed), "flenwheel.step": str(step)}
        write_atomically(file.path, encode_png(image, facts))
    if hooks.score is None or not files:
        return {}
    return hooks.score([Image.open(file.path).convert("RGB") for file in files])


def character_facts(names: UiNames, job: TrainJob, reference: str) -> dict[str, str]:
    """What the file of a character LoRA says of itself."""
    recipe = job.recipe
    facts = ui_facts(
        names,
        name=job.name,
        trigger=job.trigger,
        base=reference,
        rank=recipe.lora.rank,
        steps=recipe.steps,
        resolution=recipe.resolution,
        images=len(job.pictures),
    )
    return facts | {"flenwheel.request": job.run, "flenwheel.base": reference, "flenwheel.seed": str(job.seed)}
