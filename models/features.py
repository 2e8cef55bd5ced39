"""Which public features all nodes compute: the encoder by its hash, and how wide they are.

Kept apart from the encoder so that whoever writes a plan need not load a network.
"""

from __future__ import annotations

from policies.canonical import digest
from policies.vocabulary import Digest

ENCODER_DIGEST = Digest("53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db")
"""SHA-256 of `model.safetensors` of sentence-transformers/all-MiniLM-L6-v2."""
WIDTH = 384
"""Numbers of a word piece in the encoder, and of a text's embedding."""
LONGEST = 128
"""Word pieces of a text, ends included."""
FEATURES = WIDTH + 1
"""Numbers of a turn: the embedding and a constant."""
GRAPH_DIGEST = Digest("b77112c270d510d39fd024ee394586d9f5e1b6513bf0386d213045e79936f162")
"""SHA-256 of the 8-bit graph of the encoder with the shipped adapter (`models.encoder_graph`)."""
TOKEN_GRAPH_DIGEST = Digest("fd6209cb7b913a35d2928ea36f1f70e89321ee66e0e73b07513da29673cec27d")
"""SHA-256 of the graph of its first layers, without the adapter (`models.token_classifier`)."""
ADAPTER_DIGEST = Digest("e80f748426df388c2b5a098a726efe3dfa3108eaed02358317673a5cd3592d18")
"""SHA-256 of the shipped `base_model/adapter.safetensors`."""
HEADS_DIGEST = Digest("3d617ba21ba1ece995fc7b6393a5cfeb097e7bd29c15d4e38cd400add8b1465c")
"""SHA-256 of the shipped `base_model/heads.safetensors`."""
BASIS_DIGEST = Digest("4a458f4fa668a36b03cd9ee05d8eb9e95dab0fa7a6c6af4032140e4d91ce6b1f")
"""SHA-256 of the shipped `base_model/basis.safetensors`, made of these features."""
TOKEN_CLASSIFIER_DIGEST = Digest("293d942fa38802aa21e2ad971e7f5a40ce5ab68c476e35d1b12ccb58cd13bc39")
"""SHA-256 of the shipped `base_model/token_classifier.safetensors`."""
MESSAGE_GUARD_DIGEST = Digest("da667d42a04650b3ce6def3c23735071ae5c26ae9b73d9dcb759c9bf724030bd")
"""SHA-256 of the shipped `base_model/message_guard.safetensors`."""
FEATURES_DIGEST: Digest = digest(
    {"adapter": ADAPTER_DIGEST, "encoder": ENCODER_DIGEST, "recipe": 3}
)
"""What names the features themselves: the encoder, the adapter, and the recipe that joins them.

Recipes: 1 was 32-bit in torch; 2 was 8-bit, one text at a time (`models.encoder_graph`), without
an adapter; 3 has one.
"""
