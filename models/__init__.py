"""Neural networks and their mathematics: encoder, heads, private training, accounting, evaluation."""
