"""Tasks learned one after the other: strategies, orders and seeds compared."""
