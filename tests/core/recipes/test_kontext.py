"""The recipe for FLUX.1 Kontext: an editor for a FLUX.1-dev character, under the same licence."""

from flenwheel_core.models.known_models import KNOWN_MODELS
from flenwheel_core.models.references import hub_reference
from flenwheel_core.recipes.loading import load_recipe


def test_kontext_edits_for_flux_with_embedded_guidance_and_nothing_else_changes() -> None:
    recipe, parent = load_recipe("kontext_edit"), load_recipe("flux_character_40steps")
    assert recipe.models.base == parent.models.base and "Kontext" in recipe.models.editor
    assert recipe.train == parent.train and recipe.editor.train == parent.editor.train
    assert recipe.enrich.sampler.true_cfg == 1.0 and recipe.enrich.sampler.guidance == 2.5
    assert "random weights only" in recipe.description and recipe.editor.storage is None


def test_its_licence_and_gate_are_known_without_the_hub() -> None:
    hub = hub_reference(load_recipe("kontext_edit").models.editor)
    assert hub is not None
    known = KNOWN_MODELS[hub[0]]
    assert known.gated and "Non-Commercial" in known.licence
