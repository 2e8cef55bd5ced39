"""What the person chose: notices, grants, standing and rights; composes the consent and audit service."""
