"""The shared data standard: bilingual record types, the readers that produce them, validation with quarantine."""
