"""Fine-tune Stable Diffusion 1.5 with LoRA on anime faces: the knowledge, free of any orchestrator."""

__version__ = "0.1.0"
