"""Names and tensors of a LoRA in the formats of other tools."""
