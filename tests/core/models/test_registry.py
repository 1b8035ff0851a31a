"""The registry knows all families, and their files are told apart."""

from flenwheel_core.adapters.lora_header import stated_family
from flenwheel_core.models.registry import families


def test_a_lora_of_one_family_is_not_taken_for_another_familys() -> None:
    """Files name their family by its architectures; a reader of such names may not know all, but must not confuse them."""
    for family in families():
        for architecture in family.architectures:
            assert stated_family({"modelspec.architecture": architecture}) in (None, family.name), architecture
    assert stated_family({"modelspec.architecture": "flux-9-next/lora"}) is None
    assert (
        stated_family({"ss_base_model_version": "flux"})
        == stated_family({"ss_base_model_version": "flux1"})
        == "FLUX.1"
    )
