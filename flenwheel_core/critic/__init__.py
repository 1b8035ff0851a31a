"""The critic: learns what a reviewer thinks of pictures, and says how sure it is."""
