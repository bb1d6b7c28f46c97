"""Training of the pocket models; imports `faces` and `models`.

In steps, as `recipe.yaml` says: `order` calls `autoencoder`, `text_pretraining`, `diffusion` and `scorer`, which learn
from a `corpus` by the resumable loop in `fit`. In minutes, as `gpu.yaml` says: `gpu` calls the same losses and
`controlnet` by the loop in `timed_fit`, on a `live_corpus` that is rendered meanwhile and encoded by `latent_store`.
"""
