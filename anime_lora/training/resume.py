"""What a checkpoint holds of a run, and how a run goes on from it."""

from anime_lora.lora import adapter
from anime_lora.training import checkpoint
from anime_lora.training.state import State
from anime_lora.training.trainer import Run

CHECKPOINTS = "checkpoints"


def save(run: Run, state: State) -> None:
    """Write a checkpoint (first process only) and prune old ones; the others wait."""
    if run.accelerator.is_main_process:
        tensors = {
            "adapter": run.adapter(),
            "optimizer": run.optimizer.state_dict(),
            "average": run.average.state() if run.average is not None else None,
            "scaler": run.accelerator.scaler.state_dict() if run.accelerator.scaler is not None else None,
        }
        folder = run.folder / CHECKPOINTS
        newest = checkpoint.save(folder, state.step, run.fingerprint, tensors, state.to_json())
        checkpoint.prune(newest, run.settings.keep_checkpoints, run.fingerprint)
    run.accelerator.wait_for_everyone()


def restore(run: Run) -> State:
    """The state of the newest good checkpoint, put back into `run`; a fresh one when there is none."""
    found = checkpoint.latest(run.folder / CHECKPOINTS, run.fingerprint, run.accelerator.device)
    if found is None:
        return State()
    tensors, progress = found
    adapter.load_adapter_state(run.pipe.unet, run.pipe.text_encoder, tensors["adapter"])
    run.optimizer.load_state_dict(tensors["optimizer"])
    if run.average is not None:
        run.average.load(tensors["average"])
    if run.accelerator.scaler is not None:
        run.accelerator.scaler.load_state_dict(tensors["scaler"])
    state = State(**progress)
    if run.accelerator.is_main_process:
        print(f"going on from step {state.step} of {run.total_steps}", flush=True)
    return state
