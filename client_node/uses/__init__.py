"""What may be done with a reading, each use through the gate."""
