"""What is measured on the generated images, one module per kind of metric."""
