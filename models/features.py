"""Which public features all nodes compute: the encoder by its hash, and how wide they are.

Kept apart from the encoder so that whoever writes a plan need not load a network.
"""

from __future__ import annotations

from policies.canonical import digest
from policies.vocabulary import Digest

ENCODER_DIGEST = Digest("53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db")
"""SHA-256 of `model.safetensors` of sentence-transformers/all-MiniLM-L6-v2."""
FEATURES = 385
"""Numbers of a turn: 384 of the embedding and a constant."""
FEATURES_DIGEST: Digest = digest({"encoder": ENCODER_DIGEST, "recipe": 2})
"""What names the features themselves: the encoder's bytes and the recipe that uses them.

Recipes: 1 was 32-bit in torch; 2 is 8-bit, one text at a time (`models.encoder_graph`).
"""
