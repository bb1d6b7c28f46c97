"""Training of the pocket models: corpus, recipe, loop, and one module per model."""
