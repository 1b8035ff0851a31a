"""The page of measurements of the nano models, those of the easier world of before beside them."""

from benchmarks.page import Page, Table
from benchmarks.page_siblings import SIBLINGS

_WORTH = {
    "instruction_followed": "instruction followed",
    "identity_kept": "identity kept",
    "attribute_accuracy": "attributes right",
    "eer": "equal error rate",
    "image_seconds": "s a picture",
    "edit_seconds": "s an edit",
}
_WORTH_CASES = {
    "editor": "edits",
    "captions_renders": "captions of renders",
    "captions_redrawn": "captions of generated pictures",
    "embedder_portraits": "embedder, portraits",
    "embedder_bodies": "embedder, bodies",
    "embedder_siblings": "embedder, siblings",
    "speed_cpu_image": "a picture on two cores",
    "speed_cpu_edit": "an edit on two cores",
}
NANO = Page(
    "nano",
    "The nano models",
    "The picture autoencoder restores {vae.psnr_db:.1f} dB; captions are followed in {text_to_image.angle_accuracy:.0%} of angles and "
    "{text_to_image.expression_accuracy:.0%} of expressions.",
    "nano_models",
    (
        Table(
            "How well do they draw what a text asks for?",
            "Captions of drawn characters.",
            "nano_models",
            {
                "captions": "captions",
                "pose_accuracy": "pose",
                "angle_accuracy": "angle",
                "expression_accuracy": "expression",
                "background_accuracy": "background",
                "hair_colour_accuracy": "hair colour",
            },
            {"text_to_image": "text to image"},
        ),
        Table(
            "How well do they edit, caption and tell apart?",
            "On characters that no model was trained on; the columns that a row has. Identity is kept where the cosine between source and "
            "edit is 0.75 and more.",
            "nano_models",
            _WORTH,
            _WORTH_CASES,
        ),
        Table(
            "How good were they in world 1, the easier one?",
            "The models that were shipped before, by the same script of that time; ten LoRAs on two cores.",
            "nano_models_world1",
            {
                "pose_accuracy": "pose",
                "angle_accuracy": "angle",
                "expression_accuracy": "expression",
                "background_accuracy": "background",
                "hair_colour_accuracy": "hair colour",
                "identity_cosine": "identity",
            },
            {"text_to_image": "text to image", "lora_mean": "LoRA of 12 pictures, mean of ten", "editor": "edits"},
        ),
        Table(
            "And how well did they edit, caption and tell apart in world 1?",
            "As above.",
            "nano_models_world1",
            _WORTH,
            {case: name for case, name in _WORTH_CASES.items() if case != "embedder_siblings"},
        ),
        Table(
            "What does a LoRA of a character learn?",
            "On two cores; cosines between embeddings of what is drawn and of the character.",
            "nano_learning",
            {
                "seconds": "training, s",
                "identity_cosine": "identity",
                "identity_cosine_class_word": "class word alone",
                "angle_accuracy": "angle",
                "expression_accuracy": "expression",
            },
        ),
        *SIBLINGS,
    ),
)
