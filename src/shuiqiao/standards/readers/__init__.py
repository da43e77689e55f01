"""Source files from outside: opened, recognised and cut into rows in bounded memory."""
