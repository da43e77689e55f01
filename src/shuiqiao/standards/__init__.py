"""The shared data standard: record types with bilingual fields, the readers that produce them, validation with quarantine."""
