"""The process that starts workers, keeps them alive, follows the configuration, and stops them in order."""
