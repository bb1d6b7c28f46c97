"""What is measured on the generated images: one module for each kind of metric, `results` for all of them.

Each module returns dataclasses with named fields: an `Estimate`, or None with the reason in `missing`. Nothing here
knows claims or report.
"""
