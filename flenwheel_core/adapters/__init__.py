"""LoRAs: which linears get one, putting it on, the product with it, the files it comes from and becomes."""
