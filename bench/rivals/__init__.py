"""The same job done by others: protocol v1, correct, each the way its library's users write it."""
