"""The coordinator's pages: federation, models, insight, in the frame of `audit.portal`."""
