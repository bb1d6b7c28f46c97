"""The LoRA: base, latents, objective, loop, checkpoints, exchange formats."""
