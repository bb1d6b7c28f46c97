"""Fine-tune Stable Diffusion 1.5 with LoRA on anime faces: the knowledge, free of any orchestrator."""

import logging
import os

__version__ = "0.1.0"

# Notes on packages that nobody needs here, at every start of every stage.
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
