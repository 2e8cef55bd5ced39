"""The person's side: everything that runs at a branch or on a device."""
