"""The environment variables that the product reads; they stand apart so that the help need not load what reads them."""

from __future__ import annotations

HOME_VARIABLE = "SHUIQIAO_HOME"
"""Environment variable naming the home folder when --home is not given."""

PASSPHRASE_FILE_VARIABLE = "SHUIQIAO_PASSPHRASE_FILE"  # noqa: S105 - the name of a variable, not a secret
"""Environment variable naming a file that holds the passphrase of the key files."""

DATABASE_URL_VARIABLE = "SHUIQIAO_DATABASE_URL"
"""Environment variable naming a PostgreSQL database instead of the home's SQLite file."""

CLOCK_VARIABLE = "SHUIQIAO_CLOCK_IS_RIGHT"
"""Environment variable that --clock-is-right sets for its command: this clock is right, old as the newest block is."""

COMETBFT_VARIABLE = "SHUIQIAO_COMETBFT"
"""Environment variable naming the cometbft program, where it is not the one that scripts/install_cometbft.sh made."""

TOKEN_FILE_VARIABLE = "SHUIQIAO_TOKEN_FILE"  # noqa: S105 - the name of a variable, not a secret
"""Environment variable naming the file that holds a user's token, as ``users login`` writes it."""

ENTERPRISE_KEY_VARIABLE = "SHUIQIAO_ENTERPRISE_KEY"
"""Environment variable naming the encrypted key file of an enterprise, where --key does not."""

DATA_VARIABLE = "SHUIQIAO_DATA"
"""Environment variable naming the folder of public research data, where --data does not."""

PASSWORD_FILE_VARIABLE = "SHUIQIAO_PASSWORD_FILE"  # noqa: S105 - the name of a variable, not a secret
"""Environment variable naming a file that holds a user's password, where nobody is there to type it."""
