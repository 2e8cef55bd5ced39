"""The trust service's own pages in the portal's frame; each reads and acts through the desks."""
