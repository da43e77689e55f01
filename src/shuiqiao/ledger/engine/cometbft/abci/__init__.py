"""The ABCI 2.0 socket: messages as bytes, and the server that CometBFT connects to."""
