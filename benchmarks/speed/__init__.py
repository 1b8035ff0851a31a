"""What training, editing and drawing cost at full size: seconds and memory, mostly on a card."""
