"""Text to typed options."""
