"""The report: `model` is the page as types; `figures`, `contents`, `data_quality` fill it; `charts`, `page` render it.

`plots` writes curves for `dvc plots`, `training` reads what training wrote, `wording` makes text of numbers. Only
`stage` imports from here; `claims`, `promotion` and `summary` take no more than `wording` and `training`.
"""
