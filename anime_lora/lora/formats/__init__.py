"""How other programs name the tensors of a LoRA: one module per format. May import the hall and `lora.adapter`."""
