"""Which channels a batch goes to: one file a type."""
