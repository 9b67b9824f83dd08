"""The book: our prose and an edition's executed notebooks."""
