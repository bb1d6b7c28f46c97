"""Pictures out: pipelines, the suite of prompts and seeds, galleries."""
