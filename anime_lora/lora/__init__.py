"""The LoRA itself: adapter layers, the files it is shared as with their metadata, and what any LoRA file holds.

May import the hall and `diffusion`; it knows nothing of a training run, whose facts it is given.
"""
