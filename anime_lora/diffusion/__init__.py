"""Stable Diffusion as training and sampling share it: the base model, the device, tensor files, random numbers by key.

May import the hall (`config`, `errors`, `files`, `progress`, `executors`, `images`) and no other room.
"""
