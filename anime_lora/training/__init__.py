"""Training: from the organized dataset and the base to the published adapter.

`stage` is the train stage, `trainer` the loop and the step; `batch`, `losses`, `latent_cache` and `text_embeddings`
make what a step computes on; `validation` and `selection` decide which epoch is published; `estimate` is the command
`plan`. May import the hall (`config`, `errors`, `files`, `progress`, `executors`, `images`), `diffusion` and `lora`;
sampling and evaluation read what training wrote, and do not import it.
"""
