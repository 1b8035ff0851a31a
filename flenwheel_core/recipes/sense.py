"""What a recipe's document cannot say by its types: templates that can be filled, numbers that are numbers, sizes that models draw."""

import re
from collections.abc import Iterator, Mapping, Sequence

from flenwheel_core.base.ids import Json
from flenwheel_core.documents.prompts import PromptTemplate
from flenwheel_core.documents.wording import LABEL_ORDER
from flenwheel_core.recipes.model import Recipe

_LARGEST_SEED = 2**63 - 1
_SIDE_STEP = 16
_CHARACTER = ("trigger", "class_word")
_SHORT = ("shown", "shot")
_CELL = {"angle", "expression", "pose"}
_FROM_VALUES = ("background", "lighting", "clothing", "style")
_BRACES = re.compile(r"\{([^{}]*)\}|[{}]")


def nonsense(recipe: Recipe, content: Mapping[str, Json]) -> list[str]:
    """A sentence for each choice that could not be carried out. `content` is the file that the recipe was read from."""
    return [
        *_booleans(content, recipe.model_dump(mode="json")),
        *_numbers(recipe),
        *_templates(recipe),
        *_phrases(recipe),
        *_choices(recipe),
    ]


def _choices(recipe: Recipe) -> Iterator[str]:
    if recipe.train.lora.dora and any(strength != 1 for strength in recipe.choice.strengths):
        yield "choice.strengths: a DoRA cannot be kept at another strength than 1"
    if recipe.doubts.leave_out and not recipe.doubts.look:
        yield "doubts.leave_out: nothing is left out where nothing is looked for; set doubts.look"
    if recipe.critic.vision.learns and recipe.models.captioner is None:
        yield "critic.vision.learns: the model that captions learns the verdicts, and there is none; set models.captioner"


def _booleans(given: Json, read: Json, place: str = "") -> Iterator[str]:
    """True and false where a number is wanted: they would count as 1 and 0."""
    if isinstance(given, bool) and not isinstance(read, bool):
        yield f"{place}: {str(given).lower()} is no number"
    elif isinstance(given, Mapping) and isinstance(read, Mapping):
        for key, value in given.items():
            yield from _booleans(value, read.get(key), f"{place}.{key}" if place else key)
    elif isinstance(given, list) and isinstance(read, list):
        for index, (value, found) in enumerate(zip(given, read, strict=False)):
            yield from _booleans(value, found, f"{place}.{index}")


def _numbers(recipe: Recipe) -> Iterator[str]:
    for place, seed in (
        ("enrich.seed", recipe.enrich.seed),
        ("generate.seed", recipe.generate.seed),
        ("benchmark.seed", recipe.benchmark.seed),
        ("editor.seed", recipe.editor.seed),
        ("train.sampling.seed", recipe.train.sampling.seed),
    ):
        if abs(seed) > _LARGEST_SEED:
            yield f"{place}: a seed has at most 63 bits, up to {_LARGEST_SEED}"
    for place, sampler in (("enrich.sampler", recipe.enrich.sampler), ("generate.sampler", recipe.generate.sampler)):
        for name, side in (("width", sampler.width), ("height", sampler.height)):
            if side % _SIDE_STEP:
                near = max(4, round(side / _SIDE_STEP)) * _SIDE_STEP
                yield f"{place}.{name}: {side} is not a multiple of {_SIDE_STEP}, and no model draws it; try {near}"


def _templates(recipe: Recipe) -> Iterator[str]:
    for place, templates in (
        ("enrich.templates", recipe.enrich.templates),
        ("generate.templates", recipe.generate.templates),
    ):
        ids = [template.id for template in templates]
        for id_ in sorted({one for one in ids if ids.count(one) > 1}):
            yield f"{place}: two templates are called {id_}; how often each was good could not be told apart"
        known = (*LABEL_ORDER, *_SHORT) + (_CHARACTER if templates is recipe.generate.templates else ())
        for template in templates:
            yield from _fields(f"{place} {template.id}", template.text, known)
        yield from _without_values(place, templates, recipe)
    if not any(_CELL & set(_BRACES.findall(template.text)) for template in recipe.enrich.templates):
        yield "enrich.templates: none has {angle}, {expression} or {pose}, so no plan can aim at the model card"
    yield from _fields("caption_template", recipe.caption_template, (*LABEL_ORDER, *_SHORT, *_CHARACTER))


def _fields(place: str, text: str, known: Sequence[str]) -> Iterator[str]:
    for found in _BRACES.finditer(text):
        if found[1] not in known:
            names = ", ".join(f"{{{name}}}" for name in known)
            yield f"{place}: {found[0]} is no field; known are {names}"


def _without_values(place: str, templates: Sequence[PromptTemplate], recipe: Recipe) -> Iterator[str]:
    for field in _FROM_VALUES:
        if not recipe.values.get(field) and any(f"{{{field}}}" in template.text for template in templates):
            yield f"{place}: {{{field}}} is used, and values.{field} gives nothing to put there"


def _phrases(recipe: Recipe) -> Iterator[str]:
    for label, text in recipe.phrases.items():
        if _BRACES.search(text.replace("{}", "")):
            yield f"phrases.{label}: only {{}} stands for the value"
