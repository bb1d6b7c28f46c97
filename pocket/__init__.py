"""The pocket base: rendered faces and the small Stable Diffusion trained on them; not part of the wheel."""
