"""A ControlNet on Canny edges for a trained base, whose weights stay as they are."""

import logging

import torch
from diffusers import ControlNetModel, UNet2DConditionModel
from torch import Tensor, nn

from pocket.models import shapes
from pocket.training.compile_ahead import mixed_precision
from pocket.training.diffusion import Diffusion
from pocket.training.latent_store import LatentStore
from pocket.training.timed_fit import TimedPlan, fit_until

log = logging.getLogger(__name__)


def new_controlnet(unet: UNet2DConditionModel, edition: shapes.Edition, seed: int, edges: Tensor) -> ControlNetModel:
    """A copy of the UNet's encoder that changes nothing yet, with an edge encoder scaled on `edges` (n, 3, h, w).

    Diffusers sets the edge encoder's last layer to zero, and its other eight shrink what they are given: in 1,000 steps
    of 256 the loss had not moved. Here every layer's output has deviation 1 at first (Mishkin & Matas 2016), so that
    the copy depends on the edges; the zero convolutions behind it alone let training start from the base's own images.
    """
    torch.manual_seed(seed)
    net = shapes.controlnet(unet, edition).to(edges.device).requires_grad_(True)

    def normalise(layer: nn.Conv2d, _: object, output: Tensor) -> Tensor:
        deviation = output.std()
        layer.weight.div_(deviation)
        return output / deviation

    convolutions = [layer for layer in net.controlnet_cond_embedding.modules() if isinstance(layer, nn.Conv2d)]
    for layer in convolutions:
        nn.init.kaiming_normal_(layer.weight)
        layer.bias.data.zero_()  # type: ignore[union-attr]
    handles = [layer.register_forward_hook(normalise) for layer in convolutions]
    with torch.no_grad():
        net.controlnet_cond_embedding(edges)
    for handle in handles:
        handle.remove()
    return net.to(memory_format=torch.channels_last)


def train_controlnet(
    diffusion: Diffusion, store: LatentStore, edition: shapes.Edition, seed: int, plan: TimedPlan
) -> ControlNetModel:
    """A ControlNet for `diffusion`, trained by the base's own loss on the stored images that have edge maps."""
    index = store.index(with_edges=True)
    log.info("%s: %d images with edges", plan.name, len(index))
    diffusion.requires_grad_(False)
    first = index[:32]
    net = new_controlnet(diffusion.unet, edition, seed, store.edge_images(first, first < 0))

    def loss() -> Tensor:
        batch = store.sample(plan.recipe.batch, with_edges=True)
        with mixed_precision(str(store.device)):
            with torch.no_grad():
                states = diffusion.text_encoder(batch.ids)[0]
            condition = store.edge_images(batch.index, batch.mirrored)
            down, middle = net(batch.noisy, batch.times, states, controlnet_cond=condition, return_dict=False)
            predicted = diffusion.unet(
                batch.noisy,
                batch.times,
                states,
                down_block_additional_residuals=down,
                mid_block_additional_residual=middle,
            ).sample
        return batch.loss(predicted)

    fit_until(net, [{"params": list(net.parameters()), "lr": plan.recipe.learning_rate}], loss, plan)
    return net
