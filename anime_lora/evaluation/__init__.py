"""Generated images become numbers, numbers become verdicts, and both become one page.

`stage` runs it all. `image_sets` and `encoders` give vectors, `statistics` intervals, `metrics/` one module for each
kind of measure; `claims` decides what is shown, `promotion` whether a LoRA beats another, `summary` what metrics.json
holds, `report/` is the page. May import `data`, `diffusion`, `sampling` and the modules beside the rooms.
"""
