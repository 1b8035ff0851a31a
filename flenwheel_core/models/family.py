"""What a family of models says of itself. Light: reading it imports none of the family's code.

A family is one folder. `models/NAME/family.py` holds a `FAMILY`; the registry finds it there. A family outside of this package calls
`registry.register(FAMILY)` in a module that the setting `stage_modules` names. models/README.md says what each entry must be.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

Entry = str
"""`module:function`, imported when it is first called."""


@dataclass(frozen=True)
class Family:
    """One family of models. Entries are empty where it offers nothing of the kind."""

    name: str
    """What people call it, such as FLUX.1."""
    classes: tuple[str, ...]
    """Class names in `model_index.json` or `config.json` that belong to it."""
    only: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Uses that not all of these classes have, by the entry's name, such as `editor`, with those that have it."""
    generator: Entry = ""
    trainer: Entry = ""
    editor: Entry = ""
    edit_trainer: Entry = ""
    captioner: Entry = ""
    verdicts: Entry = ""
    """What answers a question about pictures as log-odds, with LoRAs that it learned verdicts with: the critic asks it."""
    linears: Entry = ""
    """`(folder) -> ModelLinears`: what a LoRA may sit on; recipes are checked by it. Nothing is loaded."""
    vl_trainer: Entry = ""
    """What trains a LoRA on a vision-language model's language layers."""
    vl_unsloth: Entry = ""
    """Likewise by Unsloth, in the interpreter that the setting `unsloth_python` names."""
    prompts: Entry = ""
    """What draws from prompt embeddings, and can be asked for gradients of them: injection into it."""
    features: Entry = ""
    """What a vision-language model sees of pictures, as tensors: injection from it."""
    planner: Entry = ""
    """`(folder, recipe, use, card) -> list[StagePlan]`: what its stages would do with a card; `use` is base or editor."""
    lora_layouts: Mapping[str, Entry] = field(default_factory=dict)
    """Further layouts of its LoRA files for other programs, by name: functions from the file's bytes to the other file's."""
    needs_card: bool = True
    """False where the work is done elsewhere: a stage with such a model does not wait for the GPU slot."""
    comfyui: Entry = ""
    """`(GraphFacts) -> bytes`: a graph for ComfyUI that draws a sample picture with a LoRA of it."""
    pipeline_call: Entry = ""
    """`(sampler, folder or None) -> arguments`: what diffusers' pipeline needs to draw as here; see pipeline_call.py."""
    single_file: Entry = ""
    """`(names) -> parts`: how its transformer lies in one file for ComfyUI; see adapters/merging.py."""
    card_tag: str = ""
    """How the Hub tags its LoRAs."""
    architectures: tuple[str, ...] = ()
    """`modelspec.architecture` of its LoRAs, as the trainers write it."""
    most_pictures: Mapping[str, int] = field(default_factory=dict)
    """How many pictures an edit may be given, its source among them, by class; one where a class is not named."""
    options: Entry = ""
    """Document of the recipe's `[train.options]`: choices that this family alone knows. Empty: it knows none."""
    idle_keys: Mapping[str, str] = field(default_factory=dict)
    """Keys of `[train]` that its trainer does not read, each with what to do instead: a recipe that sets one is refused."""
    idle_edit_keys: Mapping[str, str] = field(default_factory=dict)
    """Likewise keys of `[enrich]` that its editor does not read."""

    def opens(self, class_name: str, use: str) -> bool:
        """True if a model of this class can be used so; any use if empty."""
        return class_name in self.classes_for(use)

    def classes_for(self, use: str) -> tuple[str, ...]:
        """The classes that have a use."""
        return self.only.get(use, self.classes) if not use or getattr(self, use) else ()
