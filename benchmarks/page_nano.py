"""The page of the nano models."""

from benchmarks.page import Page, Table

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
    ),
)
