"""Operations with frozen weights and attention, each with a plain version, and a Triton kernel where one is faster on a card: README.md."""
