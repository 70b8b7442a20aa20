"""The market: what can be bought, what it would cost, what we promised."""
