"""The CometBFT node beside us: its folder, its process, its RPC."""
