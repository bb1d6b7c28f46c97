"""The data stages: ingest, validate, resize, organize; and what changed between two versions of sources or dataset.

A stage reads the manifest of the one before it and writes its own; `manifest` holds the rows. Imports the hall (config,
errors, executors, files, images, progress) and no other room, never torch: evaluation may import this room, training
and sampling may not, so that a change here retrains nothing.
"""
