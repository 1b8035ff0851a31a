"""Learning from pairs: the corrected edit is better than the one that was rejected, place by place where they differ.

Flow-DPO (Liu et al. 2025, "Improving Video Generation with Human Feedback", arXiv:2501.13918, section 4.2, with a constant beta), which is
Diffusion-DPO (Wallace et al. 2023, arXiv:2311.12908, eq. 14) for velocities: with e the error of the model in training on a picture and r
that of the reference, which is the editor without the LoRA in training,

    L = -log sigmoid(beta / 2 * ((r_right - e_right) - (r_rejected - e_rejected)))

at one noise and one noise level for both pictures. Errors are means over the places where the two pictures differ, so that what both have
in common teaches nothing.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from flenwheel_core.engine.flow_matching import flow_loss


def preference_loss(errors: Tensor, reference: Tensor, strength: float) -> Tensor:
    """The loss of each pair, (batch,), from errors (2, batch) of both models, first on the right pictures, then on the rejected ones.

    `strength` is beta. The loss is divided by beta / 4: its gradient then begins as that of `e_right - e_rejected`, as large as that of
    a supervised loss, whatever beta is; beta says how soon a pair that is told apart teaches nothing any more.
    """
    margin = (reference[0] - errors[0]) - (reference[1] - errors[1])
    return -F.logsigmoid(strength / 2 * margin) * (4 / strength)


def pair_losses(
    prediction: Tensor, target: Tensor, reference: Tensor, wrong: Tensor, *, strength: float, anchor: float
) -> Tensor:
    """The loss of each pair, (batch,), from velocities (2 * batch, tokens, channels), the right pictures first.

    `prediction` by the model in training, `reference` by the model without its LoRA, `target` the true ones; `wrong` (batch, tokens, 1),
    0 to 1, is where the two pictures differ. `anchor` times the squared distance to the reference where they do not keeps the rest.
    """
    twice = torch.cat([wrong, wrong])
    errors, before = (flow_loss(each, target, twice).unflatten(0, (2, -1)) for each in (prediction, reference))
    loss = preference_loss(errors, before, strength)
    if anchor > 0:
        kept = flow_loss(prediction, reference, 1 - twice).unflatten(0, (2, -1)).mean(0)
        loss = loss + anchor * kept
    return loss
