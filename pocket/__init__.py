"""The pocket base: rendered faces and the small Stable Diffusion trained on them; not part of the wheel.

`faces` renders characters and writes captions, `models` holds shapes, tokenizer and publishing, `training` trains,
`measure` measures what is published. Of the library only `config`, `errors`, `files` and `progress` may be imported.
"""
