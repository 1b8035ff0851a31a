"""What families of transformers share: frozen weights and their sources, fused linears, blocks, the plan they are built by, and training."""
