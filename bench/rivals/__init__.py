"""Other servers that do the same job. Each speaks protocol v1 correctly, and is written as users of its library do."""
