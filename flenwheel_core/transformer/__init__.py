"""What families of transformers share: frozen weights and where they come from, fused linears, blocks, and the plan they are built by."""
