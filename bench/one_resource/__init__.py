"""A program of one resource: what any program costs on these engines."""
