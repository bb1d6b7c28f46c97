"""params.yaml as frozen pydantic models: a module per section, loading, presets, and where stages read and write.

Part of the hall: every room may import it; it imports `errors` and `files` only. A function of another room takes plain
values or its own section, never the whole of `Params`.
"""
