"""Images to numbers: encoders, metrics, intervals, claims, report."""
