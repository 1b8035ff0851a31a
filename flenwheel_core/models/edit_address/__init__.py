"""An image editor behind an address: somebody else's machine edits, over HTTP, and is paid for it."""
