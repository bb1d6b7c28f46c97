"""The data stages: ingest, validate, resize, organize, and what changed between versions. Never imports torch."""
