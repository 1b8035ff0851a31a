"""The embedded default: a world of drawn characters with known truth, and small models of the real classes that live in it.

Everything here works on a CPU with the network off. The weights are ordinary model folders, loaded with `from_pretrained`.
"""
