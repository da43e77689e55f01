"""The CometBFT engine: our state machine behind an ABCI 2.0 socket, and CometBFT as the process that orders."""
