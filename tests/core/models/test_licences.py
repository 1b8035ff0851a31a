"""Licences are known by name, as the Hub or the built-in table writes them; what is not known is said so."""

import re

import pytest

from flenwheel_core.models.known_models import FACE_LICENCE, KNOWN_FILES, KNOWN_MODELS, SHIPPED_LICENCE
from flenwheel_core.models.licences import licence_of, named_licence


@pytest.mark.parametrize(
    ("name", "commercial"),
    [
        ("Apache-2.0", True),
        ("apache-2.0", True),
        (SHIPPED_LICENCE, True),
        (FACE_LICENCE, True),
        ("FLUX.1 [dev] Non-Commercial License", False),
        ("flux-1-dev-non-commercial-license", False),
        ("flux_noncommercial", False),
        ("cc-by-nc-4.0", False),
        ("qwen-research", False),
        ("Qwen RESEARCH LICENSE AGREEMENT", False),
        ("for research purposes only", False),
        ("research_only", False),
        ("apache-2.0 (microsoft research)", None),
        ("other", None),
        ("not stated", None),
        ("", None),
        ("your own folder", None),
    ],
)
def test_whether_commercial_use_is_allowed_is_known_or_not(name: str, commercial: bool | None) -> None:
    assert named_licence(name).commercial is commercial


def test_every_known_model_and_file_has_a_licence_whose_use_is_known() -> None:
    for known in (*KNOWN_MODELS.values(), *KNOWN_FILES.values()):
        assert named_licence(known.licence).commercial is not None


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        ("nano@abc", "commercial use allowed"),
        ("black-forest-labs/FLUX.2-klein-base-4B@main+fp8", "Apache-2.0, commercial use allowed"),
        ("black-forest-labs/FLUX.1-dev@" + "a" * 40, "not for commercial use"),
        ("Qwen/Qwen2.5-VL-3B-Instruct@main", "Qwen Research License, non-commercial, not for commercial use"),
        ("Qwen/Qwen3-VL-8B-Instruct@main", "Apache-2.0, commercial use allowed"),
        ("Qwen/Qwen-Image-Edit-2511@main+nf4", "Apache-2.0, commercial use allowed"),
        ("somebody/model@main", "licence not known, read it before commercial use"),
        ("/models/own@abc", "licence not known, read it before commercial use"),
    ],
)
def test_a_model_of_a_record_has_its_licence(reference: str, said: str) -> None:
    assert said in str(licence_of(reference))


@pytest.mark.parametrize(
    "hub_id",
    [
        "Qwen/Qwen-Image-2512",
        "Qwen/Qwen-Image-Edit",
        "Qwen/Qwen-Image-Edit-2511",
        *(f"Qwen/Qwen2.5-VL-{size}-Instruct" for size in ("3B", "7B")),
        *(f"Qwen/Qwen3-VL-{size}-Instruct" for size in ("2B", "4B", "8B")),
    ],
)
def test_models_that_the_guide_names_are_known_without_the_hub(hub_id: str) -> None:
    known = KNOWN_MODELS[hub_id]
    assert not known.gated and known.family == ("Qwen-VL" if "-VL-" in hub_id else "Qwen-Image")
    billions = re.search(r"-(\d)B-", hub_id)
    if billions is not None:  # its name is rounded; two bytes a parameter
        assert 1.9e9 * int(billions[1]) < known.size_bytes < 2.6e9 * int(billions[1])
