"""Image generation: pipelines, the suite of prompts and seeds, galleries."""
