"""An editor behind an address: for machines whose card is too small for one. Used only where a recipe names its folder."""

from flenwheel_core.models.family import Family

_HERE = "flenwheel_core.models.edit_address"
FAMILY = Family(
    name="An editor behind an address",
    classes=("ImageEditAddress",),
    editor=f"{_HERE}.editor:open_editor",
    planner=f"{_HERE}.editor:plans",
    needs_card=False,
    most_pictures={"ImageEditAddress": 4},
    idle_edit_keys={
        "shift": "it has no noise levels to shift; leave it out",
        "loras": "it wears no LoRAs of yours; leave them out, or name an editor that runs here",
    },
)
