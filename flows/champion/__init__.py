"""The published LoRA: when a new one is trained, how it is compared, published, recorded, and taken back.

Here may be imported: Prefect, `flows.errors`, `flows.runtime`, `tasks`, and of the library `config`, `data` and
`files`; `anime_lora.evaluation` inside functions only, since it loads torch. No flow.
"""
