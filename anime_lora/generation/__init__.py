"""Images that a person asks for: `anime-lora generate`, from the words of the command line to PNG files.

`request` turns options into jobs; `engine` generates them on `sampling`'s pipelines. `prompts`, `values`, `infotext`,
`comfy` and `output` import neither torch nor diffusers. The room may import `diffusion`, `lora`, `sampling` and the
modules beside the rooms; no stage imports it, so that a change here reruns none.
"""
