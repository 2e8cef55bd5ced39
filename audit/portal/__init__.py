"""The portal's frame: who works here, how they prove it, and the look that pages share."""
