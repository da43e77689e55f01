"""What other processes and members ask of this node, and how this node asks them."""
