"""The report: its content, figures and charts, and the page."""
