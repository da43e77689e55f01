"""What is live now: the state machine that changes it, and the map whose root stands in every block entry."""
