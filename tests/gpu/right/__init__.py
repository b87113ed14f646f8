"""Parts that check results."""
