"""The pocket models' shapes, their tokenizer, and how they are published."""
