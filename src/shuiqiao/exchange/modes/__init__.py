"""The modes in which a request is answered: one port, and a module for each mode that is built."""
