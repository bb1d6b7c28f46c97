"""The pocket models: their shapes, their tokenizer, and how they are published as folders that diffusers loads.

Imports `faces`; `publish` imports from `training` what it publishes.
"""
