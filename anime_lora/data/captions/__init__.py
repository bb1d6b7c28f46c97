"""What images are said to show: caption files and tables, in whatever encoding, matched to images by path."""
