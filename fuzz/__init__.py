"""One fuzz target per mouth, and what drives them."""
