"""C sources of a runtime without a card, and of a program that allocates of it."""
