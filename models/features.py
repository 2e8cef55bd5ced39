"""Which public features all nodes compute: the encoder by its hash, and how wide they are.

Kept apart from the encoder so that whoever writes a plan need not load a network.
"""

from __future__ import annotations

from policies.vocabulary import Digest

ENCODER_DIGEST = Digest("53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db")
"""SHA-256 of `model.safetensors` of sentence-transformers/all-MiniLM-L6-v2."""
FEATURES = 385
"""Numbers of a turn: 384 of the embedding and a constant."""
