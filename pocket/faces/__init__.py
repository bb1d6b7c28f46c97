"""Anime faces as SVG: characters, their captions, and how each domain renders them."""
