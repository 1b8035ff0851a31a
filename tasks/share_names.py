"""Names by which shares of trainings over several machines are known on the server."""

DEPLOYMENT = "training-share/share"
QUEUE = "shares"
"""A share's card is held already when it waits here: it goes before all others."""
SLOT = "slot"
"""The parameter of a share that says whose it is."""
ATTEMPT = "attempt"
"""And the one that no other run has."""
