"""Plans: which edits to make and which pictures to generate. Pure and deterministic.

Plans aim at the cells of the model card that the pool fills least; statistics of earlier turns say which templates work.
"""

from collections import Counter
from collections.abc import Mapping, Sequence

from flenwheel_core.base.errors import RecipeError
from flenwheel_core.base.ids import Digest, derive_seed
from flenwheel_core.documents.characters import CharacterRef
from flenwheel_core.documents.images import ImageRecord, Labels
from flenwheel_core.documents.prompts import CARD_CELLS, Cell, EditItem, GenerateItem, PromptTemplate, cell_of
from flenwheel_core.documents.wording import fill, template_fields
from flenwheel_core.library.characters import PoolEntry
from flenwheel_core.recipes.model import Recipe

ATTRIBUTES = ("background", "lighting", "clothing", "style")
ENOUGH_PER_CELL = 2
"""A cell with this many pictures is no longer missing."""

Weights = Mapping[str, float]
"""How often a template's pictures were good, by template id; 1 for templates without statistics."""


def coverage(pool: Sequence[PoolEntry]) -> Counter[str]:
    """How many pictures of the pool fill each cell."""
    counts: Counter[str] = Counter({cell.id: 0 for cell in CARD_CELLS})
    for entry in pool:
        cell = cell_of(entry.image.labels)
        if cell is not None:
            counts[cell.id] += 1
    return counts


def missing_cells(pool: Sequence[PoolEntry]) -> tuple[Cell, ...]:
    """Cells with too few pictures, emptiest first, in the card's order."""
    counts = coverage(pool)
    wanted = [cell for cell in CARD_CELLS if counts[cell.id] < ENOUGH_PER_CELL]
    return tuple(sorted(wanted, key=lambda cell: counts[cell.id]))


def plan_edits(
    sources: Sequence[ImageRecord],
    pool: Sequence[PoolEntry],
    recipe: Recipe,
    *,
    turn: int,
    round_: int = 1,
    weights: Weights | None = None,
) -> tuple[EditItem, ...]:
    """The edits of one enrichment: every source gets a few prompts, the emptiest cells come first.

    Another turn or round gives other seeds and other backgrounds. Empty if no cell is missing.
    """
    cells = missing_cells(pool)
    if not cells or not sources:
        return ()
    seed = derive_seed(recipe.enrich.seed, "enrich", turn, round_)
    number = min(recipe.enrich.target_images, recipe.enrich.edits_per_source * len(sources))
    templates = recipe.enrich.templates
    aiming = [
        template for template in templates if {"angle", "expression", "pose"} & set(template_fields(template.text))
    ]
    if not aiming:
        raise RecipeError(
            "No edit template can change angle, expression or pose.",
            why="the plan could not aim at the cells of the model card.",
            remedy="Add a template with {angle}, {expression} or {pose} to [[enrich.templates]].",
        )
    items = []
    for index in range(number):
        cell = cells[index % len(cells)]
        source = _source_for(cell, _possible(cell, sources, recipe), index)
        template = _template_for(cell, source.labels, aiming, seed, index, weights)
        labels = _edited(source.labels, cell, template, recipe, seed, index)
        made_cell = cell_of(labels)
        items.append(
            EditItem(
                key=f"edit-{index:04d}",
                source=source.digest,
                prompt=fill(template.text, _named(labels, template), recipe.phrases),
                seed=derive_seed(seed, "edit", index) % 2**31,
                template=template.id,
                cell=made_cell.id if made_cell else None,
                labels=labels,
                references=_further(cell, source, sources, recipe.enrich.references - 1, seed, index),
            )
        )
    return tuple(items)


def _further(
    cell: Cell, source: ImageRecord, sources: Sequence[ImageRecord], number: int, seed: int, index: int
) -> tuple[Digest, ...]:
    """Further sources for an edit: one that shows the cell's pose or angle, if its own source does not, then other angles of the character.

    Among equals another one for each edit, so that a weak source does not stand behind all of them.
    """
    chosen = [source]

    def lacks(record: ImageRecord) -> tuple[bool, bool, bool, bool, int]:
        shown = {one.labels.angle for one in chosen}
        poses = {one.labels.pose or "portrait" for one in chosen}
        pose = record.labels.pose or "portrait"
        return (
            not (pose == cell.pose and cell.pose not in poses),
            not (record.labels.angle == cell.angle and cell.angle not in shown),
            record.labels.angle in shown,
            record.labels.expression != cell.expression,
            derive_seed(seed, "reference", index, record.digest),
        )

    while len(chosen) <= number:
        left = [record for record in sources if record not in chosen]
        if not left:
            break
        chosen.append(min(left, key=lacks))
    return tuple(record.digest for record in chosen[1:])


def _possible(cell: Cell, sources: Sequence[ImageRecord], recipe: Recipe) -> Sequence[ImageRecord]:
    """The sources to edit towards a cell. If the recipe has no words for its pose, only those that already show it (all, if none does)."""
    if recipe.phrases.get(cell.pose) != "":
        return sources
    same = [record for record in sources if (record.labels.pose or "portrait") == cell.pose]
    return same or sources


def _source_for(cell: Cell, sources: Sequence[ImageRecord], index: int) -> ImageRecord:
    """The next source in turn, among those that need the smaller change."""

    def change(record: ImageRecord) -> int:
        labels = record.labels
        return (
            (labels.angle != cell.angle)
            + (labels.expression != cell.expression)
            + ((labels.pose or "portrait") != cell.pose)
        )

    order = sorted(sources, key=lambda record: (change(record), record.digest))
    nearest = [record for record in order if change(record) <= change(order[0]) + 1]
    return nearest[index % len(nearest)]


def _template_for(
    cell: Cell, labels: Labels, aiming: Sequence[PromptTemplate], seed: int, index: int, weights: Weights | None
) -> PromptTemplate:
    """A template that can make the change, drawn by how well each has worked."""
    needed = {
        field
        for field, wanted in (("angle", cell.angle), ("expression", cell.expression), ("pose", cell.pose))
        if wanted is not None and wanted != (getattr(labels, field) or ("portrait" if field == "pose" else None))
    }
    able = [template for template in aiming if needed <= set(template_fields(template.text))]
    widest = able or sorted(aiming, key=lambda template: -len(needed & set(template_fields(template.text))))[:1]
    shares = [max(0.05, (weights or {}).get(template.id, 1.0)) for template in widest]
    point = derive_seed(seed, "template", index) / 2**63 * sum(shares)
    for template, share in zip(widest, shares, strict=True):
        point -= share
        if point <= 0:
            return template
    return widest[-1]


def _edited(source: Labels, cell: Cell, template: PromptTemplate, recipe: Recipe, seed: int, index: int) -> Labels:
    """What the edit must show: the source's labels with the template's fields changed."""
    changed: dict[str, str | None] = {}
    for field in template_fields(template.text):
        if field in ATTRIBUTES:
            changed[field] = _value(field, recipe, seed, index)
        else:
            changed[field] = getattr(cell, field) or getattr(source, field)
    return source.model_copy(update={key: value for key, value in changed.items() if value is not None})


def _named(labels: Labels, template: PromptTemplate) -> Labels:
    """Only the labels the template names."""
    return Labels.model_validate({field: getattr(labels, field) for field in template_fields(template.text)})


def _value(field: str, recipe: Recipe, seed: int, index: int) -> str:
    values = recipe.values.get(field, ())
    if not values:
        raise RecipeError(
            f"A template uses {{{field}}}, but the recipe gives no values for it.",
            remedy=f'Add {field} = ["...", "..."] to [values].',
        )
    return values[derive_seed(seed, field, index) % len(values)]


def plan_generation(
    character: CharacterRef,
    pool: Sequence[PoolEntry],
    recipe: Recipe,
    *,
    turn: int,
    round_: int = 1,
    weights: Weights | None = None,
) -> tuple[GenerateItem, ...]:
    """The pictures to generate: every cell, emptiest first, several seeds a prompt."""
    seed = derive_seed(recipe.generate.seed, "generate", turn, round_)
    counts = coverage(pool)
    cells = sorted(CARD_CELLS, key=lambda cell: counts[cell.id])
    prompts = -(-recipe.generate.target_images // recipe.generate.seeds_per_prompt)
    items: list[GenerateItem] = []
    for index in range(prompts):
        cell = cells[index % len(cells)]
        template = _template_for(cell, Labels(), recipe.generate.templates, seed, index, weights)
        chosen = {
            field: _value(field, recipe, seed, index) for field in ATTRIBUTES if field in template_fields(template.text)
        }
        labels = Labels.model_validate({**cell.labels().model_dump(), **chosen})
        prompt = fill(template.text, labels, recipe.phrases, character)
        for number in range(recipe.generate.seeds_per_prompt):
            if len(items) == recipe.generate.target_images:
                break
            items.append(
                GenerateItem(
                    key=f"image-{index:04d}-{number}",
                    prompt=prompt,
                    seed=derive_seed(seed, "image", index, number) % 2**31,
                    template=template.id,
                    cell=cell.id,
                    labels=labels,
                )
            )
    return tuple(items)
