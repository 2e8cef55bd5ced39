"""Evidence of what was done: the gate, the log, signatures and their verification."""
