"""The LoRA: adapter layers, export, inspection and the formats it is exchanged in."""
