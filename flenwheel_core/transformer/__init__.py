"""What families of transformers share: frozen weights and their sources, fused linears, blocks and the plan they are built by, training."""
