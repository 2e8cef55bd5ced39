"""What the person chose: notices, grants, standing, rights; composes the trust service."""
