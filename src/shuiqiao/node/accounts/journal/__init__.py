"""What people did at this institution, one entry after another, none of which can be altered or left out unseen."""
