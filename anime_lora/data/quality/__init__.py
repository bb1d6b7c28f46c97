"""What `validate` asks of an image: its measures, the limits they are held against, and which images look alike."""
