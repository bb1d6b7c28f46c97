"""The validate-sample task."""

from prefect.client.schemas.objects import State

from anime_lora.config import paths
from tasks.artifacts import show_image
from tasks.dvc_process import Need, Outcome
from tasks.stage_run import run_stage, stage_task


@stage_task("validate-sample")
def validate_sample(limit: float | None = None, need: Need = "ask") -> State[Outcome]:
    """Bring validate-sample up to date; show every gallery."""
    return run_stage("validate-sample", limit, need, show)


def show() -> None:
    """One image `gallery-<name>` each."""
    for path in sorted((paths.VALIDATE_SAMPLE / "grids").glob("*.webp")):
        name = path.stem.lower().replace("_", "-")
        show_image(path, f"gallery-{name}", f"Gallery {path.stem}: base beside LoRA on the same seeds")
