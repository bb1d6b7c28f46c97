"""Pictures in, dataset out: ingest, validate, resize, organize. Never imports torch."""
