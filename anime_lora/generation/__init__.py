"""Images that a person asks for: `anime-lora generate`, from the words of the command line to PNG files.

`request` turns options into jobs, `engine` generates them on `sampling`'s pipelines. Only `engine` and `text_encoding`
import torch and diffusers, so that mistakes are answered in a second. The room may import `data`, `diffusion`,
`lora`, `sampling` and the modules beside the rooms; no stage imports it, so that a change here reruns none.
"""
