"""The published LoRA: its files, versions and history, and how a new one takes its place."""
