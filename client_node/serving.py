"""A node from its settings to its last answer: opened, listening, closed.

Apart from the command, which begins to load the models before it imports this and all that a
node is made of.
"""

from __future__ import annotations

import gc
from collections.abc import Callable

from audit.serve import Listener, serve_all
from audit.terminal import progress_bar
from client_node.api import MAX_BODY_BYTES, create_app
from client_node.internal_api import create_internal_app
from client_node.loading import Loading
from client_node.parts import Parts
from client_node.service import open_node
from client_node.settings import NodeSettings


def serve_node(settings: NodeSettings, loading: Loading, say: Callable[[str], None]) -> None:
    """Run the node until SIGTERM or SIGINT; say where it listens.

    Raises:
        StartRefused: One line says what does not hold.
        ServeFailed: It cannot listen.
    """
    gc.freeze()  # what was imported stays
    with progress_bar("articles") as progress:
        node = open_node(settings, Parts(progress=progress, loading=loading))
    try:
        node.start()
        serve_all(
            [
                Listener(
                    app=create_app(node),
                    host=settings.host,
                    port=settings.port,
                    certificate=settings.certificate,
                    private_key=settings.private_key,
                    leaving=node.leave,
                    largest_message_bytes=MAX_BODY_BYTES,
                    proxies=settings.proxies,
                    proxy_header=settings.proxy_header,
                ),
                Listener(app=create_internal_app(node), unix_socket=settings.socket_path),
            ],
            on_ready=lambda addresses: say(f"undertone-node {node.node} {addresses[0]}"),
        )
    finally:
        node.close()
