"""The GPU recipe and shapes so small that a CPU trains them in seconds."""

from pocket.__main__ import BASE, GPU_RECIPE
from pocket.models import shapes
from pocket.training.gpu import PHASES
from pocket.training.recipe import GpuRecipe, read_gpu_recipe
from tests.house.doors import ROOT

BASE_FOLDER = ROOT / BASE / "pocket"
TINY = shapes.Edition((8, 8, 8, 8, 8), 4, (32, 32), "v_prediction")


def tiny_recipe() -> GpuRecipe:
    """The recipe with one renderer, few images, and batches of two."""
    recipe = read_gpu_recipe(GPU_RECIPE)
    changes = {name: getattr(recipe, name).model_copy(update={"batch": 2}) for name in PHASES}
    images = recipe.images.model_copy(update={"count": 24, "renderers": 1, "captions": 2})
    return recipe.model_copy(update={**changes, "images": images, "compile": False, "log_every": 1})
