"""Image generation: the suite of shots, the pipelines, validate-sample's stage, its galleries and what it writes.

`suite`, `sources`, `results`, `galleries` and `grids` import neither torch nor diffusers. The room may import
`diffusion`, `lora` and the modules beside the rooms; evaluation reads `results` and `sources`, and lays out sheets by
`grids`.
"""
