"""The pocket base: drawn faces and the small Stable Diffusion trained on them."""
