"""Anime faces as SVG: characters, their captions, and how each domain or style renders them.

Pure functions of a seed; nothing here imports torch or the other rooms of `pocket`.
"""
