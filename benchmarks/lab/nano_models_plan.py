"""Which recipes `nano_models_search` tries."""

from itertools import product

from benchmarks.lab.nano_models_many import Run
from benchmarks.lab.nano_models_search import Group
from flenwheel_core.recipes.train import LoraRecipe

TARGETS: dict[str, dict[str, object]] = {
    "usual": {"targets": ("attention", "mlp")},
    "usual+embedders": {"targets": ("attention", "mlp", "embedders")},
    "all": {"targets": ("attention", "mlp", "modulation", "embedders")},
    "attention+embedders": {"targets": ("attention", "embedders")},
    "attention": {"targets": ("attention",)},
    "embedders": {"targets": ("embedders",)},
    "context": {"include": ("context_embedder",)},
    "text": {
        "include": (
            "context_embedder",
            "transformer_blocks.*.attn.add_*_proj",
            "transformer_blocks.*.ff_context.net.*",
        )
    },
    "text+singles": {
        "include": (
            "context_embedder",
            "transformer_blocks.*.attn.add_*_proj",
            "transformer_blocks.*.ff_context.net.*",
            "single_transformer_blocks.*.attn.to_*",
            "single_transformer_blocks.*.proj_*",
        )
    },
    "keys+values": {
        "include": (
            "context_embedder",
            "*.add_k_proj",
            "*.add_v_proj",
            "single_transformer_blocks.*.attn.to_k",
            "single_transformer_blocks.*.attn.to_v",
        )
    },
}


def broad() -> list[Group]:
    """First search: which targets, how much prior, which rate."""
    rates, shares = (1e-3, 2e-3, 4e-3), (0.25, 0.5, 0.67)
    recipes = [Run(0, lr=lr, share=share) for lr, share in product(rates, shares)]
    recipes += [Run(0, lr=lr, share=0.5, paired=True) for lr in (*rates, 8e-3)]
    recipes += [Run(0, lr=lr, share=0.5, own=0.4, wide=0.4, drawn=24) for lr in (1e-3, 2e-3)]
    recipes += [Run(0, lr=2e-3, share=0.5, guidance=1.0), Run(0, lr=2e-3, share=0.5, weight=3.0)]
    groups = []
    order = ("usual+embedders", "text+singles", "all", "usual", "text", "embedders", "context", "keys+values")
    for name in (*order, "attention+embedders", "attention"):
        lora = LoraRecipe.model_validate({"rank": 16, **TARGETS[name]})
        groups.append(Group(name, lora, 500, 4, tuple(recipes)))
    for name, rank in (("usual+embedders", 4), ("usual+embedders", 32), ("text+singles", 32)):
        lora = LoraRecipe.model_validate({"rank": rank, **TARGETS[name]})
        groups.append(Group(name, lora, 500, 4, tuple(recipes)))
    lora = LoraRecipe.model_validate({"rank": 16, **TARGETS["usual+embedders"]})
    groups.append(Group("long", lora, 1500, 4, tuple(recipes)))
    groups.append(Group("name", lora, 500, 4, tuple(recipes), trigger="katikvi"))
    return groups


def quick() -> list[Group]:
    """Three groups, for two minutes."""
    recipes = [
        Run(0, lr=lr, share=share, paired=paired)
        for lr in (1e-3, 2e-3, 4e-3)
        for share, paired in ((0.25, False), (0.5, False), (0.5, True))
    ]
    recipes += [Run(0, lr=2e-3, share=0.5, paired=True, guidance=1.0)]
    return [
        Group(name, LoraRecipe.model_validate({"rank": 16, **TARGETS[name]}), 400, 4, tuple(recipes))
        for name in ("usual+embedders", "text+singles", "usual")
    ]


def lean() -> list[Group]:
    """For a base that knows names: how few steps are enough, and what keeps the class word best."""
    recipes = [Run(0, lr=lr, share=share) for lr in (7e-4, 1e-3, 1.5e-3, 2e-3, 3e-3) for share in (0.25, 0.4)]
    recipes += [Run(0, lr=1e-3, share=0.12), Run(0, lr=1.5e-3, share=0.25, guidance=1.0)]
    recipes += [Run(0, lr=1.5e-3, share=0.4, paired=True), Run(0, lr=1.5e-3, share=0.4, own=0.4, wide=0.3)]
    usual = ("usual", 16)
    order: list[tuple[tuple[str, int], int]] = [
        (usual, 400), (usual, 250), (usual, 150), (("usual+embedders", 16), 250),
        (("attention", 16), 250), (("usual", 8), 250), (("all", 16), 250), (("text+singles", 16), 250),
        (("usual", 32), 250), (("usual+embedders", 16), 400), (usual, 600), (("attention+embedders", 16), 250),
    ]  # fmt: skip
    groups = [
        Group(f"{name} {steps}", LoraRecipe.model_validate({"rank": rank, **TARGETS[name]}), steps, 4, tuple(recipes))
        for (name, rank), steps in order
    ]
    wide = LoraRecipe.model_validate({"rank": 16, **TARGETS["usual"]})
    groups.append(Group("batch 8", wide, 200, 8, tuple(recipes)))
    groups.append(Group("batch 2", wide, 600, 2, tuple(recipes)))
    groups.append(Group("other trigger", wide, 250, 4, tuple(recipes[:6]), trigger="sks"))
    groups.append(Group("a name of the world", wide, 250, 4, tuple(recipes[:6]), trigger="fenyradra"))
    return groups


def check() -> list[Group]:
    """The shipped recipe `nano` and its neighbours, for many characters."""
    recipes = tuple(Run(0, lr=lr, share=share) for lr in (1e-3, 1.5e-3, 2e-3) for share in (0.35, 0.2))
    lora = LoraRecipe.model_validate({"rank": 16, **TARGETS["usual"]})
    return [Group(f"check {steps}", lora, steps, 4, recipes) for steps in (400, 250, 550)]
