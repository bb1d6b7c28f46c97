"""The base model, the device and precision it runs on, and keyed random numbers."""
