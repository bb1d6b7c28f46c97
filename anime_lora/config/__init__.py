"""params.yaml as frozen pydantic models, one module per section; loading, presets, and where stages write."""
