"""What lies in the sources of images: folders, archives and URLs. Nothing is changed, or unpacked to disk."""
