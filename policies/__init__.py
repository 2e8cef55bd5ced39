"""What may be done: vocabulary, rules and the pure decision.

Imports nothing of ours and does no I/O.
"""
