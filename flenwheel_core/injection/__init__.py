"""Injection: who a photo shows, as a residual on the embeddings of a prompt."""
