"""Memory that two processes see."""
