"""The LoRA itself: adapter layers, the files it is shared as, and any LoRA file: read, merged, converted, verified.

`weights.read_weights` is the door for every file that somebody else made; `load` puts one onto a pipeline.

May import the hall and `diffusion`; it knows nothing of a training run, whose facts it is given.
"""
