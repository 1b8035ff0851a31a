"""Video memory: what a card has, what a process may take of it, and plans that stay within it."""
