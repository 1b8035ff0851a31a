"""The page of measurements on a vision-language model that learns."""

from benchmarks.page import Page, Table

_PROOFS = {
    "eyes_not_quantised": "no part of the eyes is quantised",
    "no_adapter_in_eyes": "no adapter sits on the eyes",
    "eyes_frozen": "nothing there would learn",
    "eyes_without_gradient": "no gradient arrives there",
    "eyes_digest_same": "their weights are the same before and after",
    "features_without_gradient": "what they see has no gradient",
    "features_same": "they see the same bit for bit, with the adapter and without",
    "places_equal_features": "places in the text equal features",
    "picture_changes_answer": "another picture changes the answer",
    "swapped_pictures_swap_answers": "swapped pictures swap the answers",
    "generation_without_adapter": "without the adapter it says what it said before",
    "generation_with_adapter": "with it, it says something, finite and changed",
    "saved_and_reloaded": "saved, wiped and reloaded by PEFT: the same logits",
    "every_b_alive": "every matrix B has learned",
    "trainer_agrees": "the trainer's loss and gradients are transformers'",
}
_MEASURED_WRONG = {("qwen2.5-vl-7b", "trainer_agrees")}
"""Its cosine was summed in float32 and came out above 1. The sum is in double precision now; not measured on a card since."""

VL = Page(
    "vl",
    "A vision-language model that learns",
    "A training step of Qwen2.5-VL-7B in NF4 (rank 64, a picture of 256 tokens, 476 tokens of text) takes "
    "{ours_b1.step_seconds:.2f} s and {ours_b1.peak_reserved_gib:.1f} GiB, four samples {ours_b4.step_seconds:.2f} s and "
    "{ours_b4.peak_reserved_gib:.1f} GiB; the usual way takes {usual_b1.step_seconds:.2f} and {usual_b4.step_seconds:.2f} s, "
    "{usual_b1.peak_reserved_gib:.1f} and {usual_b4.peak_reserved_gib:.1f} GiB.",
    "vl_step",
    (
        Table(
            "How long does a step take, and what does it need?",
            "Ours: features of pictures kept, logits of the answer's 60 tokens alone, layers compiled, the step recorded, products with "
            "NF4 weights in fp8. The usual way: transformers, PEFT and bitsandbytes, language layers checkpointed, the eyes at work at "
            "each step, logits everywhere. Unsloth: its own trainer as a recipe's backend runs it, the eyes at work at each step. Random "
            "weights of the real sizes.",
            "vl_step",
            {
                "step_seconds": "s a step",
                "peak_allocated_gib": "peak allocated, GiB",
                "peak_reserved_gib": "peak reserved, GiB",
                "out_of_memory": "out of memory",
            },
            {
                "ours_b1": "ours, one sample",
                "ours_b4": "ours, four samples",
                "ours_b1_kept": "ours, one sample, no layer computed again",
                "ours_b4_kept": "ours, four samples, no layer computed again",
                "usual_b1": "the usual way, one sample",
                "usual_b4": "the usual way, four samples",
                "unsloth_b1": "Unsloth, one sample",
                "unsloth_b4": "Unsloth, four samples",
                "qwen3_ours_b1": "Qwen3-VL-8B, ours, one sample",
                "qwen3_ours_b4": "Qwen3-VL-8B, ours, four samples",
                "qwen3_ours_b1_kept": "Qwen3-VL-8B, ours, one sample, no layer computed again",
                "qwen3_ours_b4_kept": "Qwen3-VL-8B, ours, four samples, no layer computed again",
                "qwen3_usual_b1": "Qwen3-VL-8B, the usual way, one sample",
                "qwen3_usual_b4": "Qwen3-VL-8B, the usual way, four samples",
            },
        ),
        Table(
            "What grows with the batch?",
            "Peak memory that each further sample of a batch adds, from batches of 1, 2 and 4 (Qwen2.5-VL-7B, NF4, rank 64; 256 tokens of "
            "picture and 476 of text where nothing else is said). It is not the pictures: with features made anew at every step a sample "
            "adds no more. It is what layers keep for the way back, where they are not computed again, and the length of the whole sample.",
            "vl_memory",
            {"gib_a_sample": "a further sample, GiB"},
            {
                "qwen2.5-vl-7b_growth_r64": "as it trains: every layer computed again, features kept, logits of the answer",
                "qwen2.5-vl-7b_growth_r16": "the same at rank 16",
                "qwen2.5-vl-7b_growth_r64_all_logits": "logits of every token",
                "qwen2.5-vl-7b_growth_r64_eyes": "the eyes at work at each step",
                "qwen2.5-vl-7b_growth_r64_all_logits_eyes": "both",
                "qwen2.5-vl-7b_growth_r64_p64": "64 tokens of picture",
                "qwen2.5-vl-7b_growth_r64_p1024": "1 024 tokens of picture",
                "qwen2.5-vl-7b_growth_r64_kept50": "half of the layers kept",
            },
            picture="vl_memory.png",
        ),
        Table(
            "What does a step need, over sizes?",
            "One sample unless a batch is named, rank 64 unless another is. The plan's predictions stand in the file (`error`), within 5 % "
            "of what was reserved; bytes of a logit were fitted to these rows. With the eyes at work nothing is planned.",
            "vl_memory",
            {
                "step_seconds": "s a step",
                "peak_allocated_gib": "peak allocated, GiB",
                "peak_reserved_gib": "peak reserved, GiB",
                "layers_recomputed": "layers computed again",
            },
            {
                "qwen2.5-vl-7b_b1_r64": "as it trains",
                "qwen2.5-vl-7b_b2_r64": "as it trains, batch 2",
                "qwen2.5-vl-7b_b4_r64": "as it trains, batch 4",
                "qwen2.5-vl-7b_b8_r64": "as it trains, batch 8",
                "qwen2.5-vl-7b_b1_r16": "rank 16",
                "qwen2.5-vl-7b_b4_r16": "rank 16, batch 4",
                "qwen2.5-vl-7b_b1_r64_all_logits": "logits of every token",
                "qwen2.5-vl-7b_b2_r64_all_logits": "logits of every token, batch 2",
                "qwen2.5-vl-7b_b4_r64_all_logits": "logits of every token, batch 4",
                "qwen2.5-vl-7b_b8_r64_all_logits": "logits of every token, batch 8",
                "qwen2.5-vl-7b_b1_r64_eyes": "the eyes at work at each step",
                "qwen2.5-vl-7b_b4_r64_eyes": "the eyes at work at each step, batch 4",
                "qwen2.5-vl-7b_b1_r64_all_logits_eyes": "both",
                "qwen2.5-vl-7b_b4_r64_all_logits_eyes": "both, batch 4",
                "qwen2.5-vl-7b_b1_r64_p64": "64 tokens of picture",
                "qwen2.5-vl-7b_b4_r64_p64": "64 tokens of picture, batch 4",
                "qwen2.5-vl-7b_b1_r64_p1024": "1 024 tokens of picture",
                "qwen2.5-vl-7b_b4_r64_p1024": "1 024 tokens of picture, batch 4",
                "qwen2.5-vl-7b_b1_r64_p2304": "2 304 tokens of picture",
                "qwen2.5-vl-7b_b1_r64_t128": "128 tokens of text",
                "qwen2.5-vl-7b_b1_r64_t1024": "1 024 tokens of text",
                "qwen2.5-vl-7b_b1_r64_kept50": "half of the layers kept",
                "qwen2.5-vl-7b_b4_r64_kept50": "half of the layers kept, batch 4",
                "qwen2.5-vl-7b_b1_r64_kept100": "all layers kept",
            },
        ),
        Table(
            "Did only the language learn, and do pictures still reach it?",
            "At full size in NF4, with random weights: a short training, then each proof on the whole network of transformers that wears "
            "the LoRA. That the trainer's loss and gradients are those of transformers is tested in float32 on a CPU; on a card, where the "
            "trainer multiplies in fp8, no figure of it stands here yet.",
            "vl_proofs",
            {"holds": "holds", "said": "what was compared"},
            {
                f"{model}_nf4_{proof}": f"{name}: {said}"
                for model, name in (("qwen2.5-vl-7b", "Qwen2.5-VL-7B"), ("qwen3-vl-8b", "Qwen3-VL-8B"))
                for proof, said in _PROOFS.items()
                if (model, proof) not in _MEASURED_WRONG
            },
        ),
        Table(
            "What does the captioner learn from people's captions?",
            "24 pictures of each of four nano characters, half of them drawn by nano FLUX, with the captions a person would write; "
            "asked about 20 others of each. Right labels are those of angle, expression, pose, background and light that the caption "
            "states. To learn a name takes far longer than to learn how captions are written. One seed.",
            "captions_learned",
            {
                "pictures": "pictures",
                "labels_right": "labels right",
                "named_share": "in the character's name",
                "traits_share": "say what never changes",
                "word_f1": "F1 of the words",
            },
            {
                "renders, as shipped": "renders, as shipped",
                "renders, after its lessons": "renders, after its lessons",
                "generated, as shipped": "generated, as shipped",
                "generated, after its lessons": "generated, after its lessons",
            },
        ),
    ),
)
