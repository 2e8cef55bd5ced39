"""Neural networks and their mathematics: encoder, heads, private training, accounting.

Imports `policies` only: whoever calls records, spends and asks the gate.
"""
