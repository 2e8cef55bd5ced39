"""A node service in miniature for the Flower test: real signing, a real gate, made-up people."""

from __future__ import annotations

import base64
import secrets
import time
from pathlib import Path

import numpy as np
import safetensors.numpy
from fastapi import FastAPI, Request, Response

from audit.gate import BATCH_SUBJECT, Gate
from audit.log import EvidenceLog
from audit.signing import SigningKey, VerifyKey, seal, unseal
from client_node.federation import bags_from_bytes
from models.heads import plan_head, plan_shape
from models.private_evaluation import evaluate_round
from models.update import Update, update_from_dict, update_to_dict, weights_from_bytes
from policies.canonical import digest
from policies.decision import Facts, UseRequest
from policies.engine import PolicyEngine
from policies.permit import Permit
from policies.standing import Governance, Grant, Standing
from policies.terms import terms_from_dict
from policies.vocabulary import Action, AgeBand, Modality, NodeId, Purpose, SubjectId

TURNS_EACH = 2


def make_gate(folder: Path, key: SigningKey) -> Gate:
    """Return a real gate with a log of its own."""
    log = EvidenceLog(folder / "node-log.db", key, origin=key.name, clock=time.time)
    return Gate(
        engine=PolicyEngine.load(), log=log, clock=time.time, batch_key=secrets.token_bytes(32)
    )


def make_people(count: int) -> list[Standing]:
    """Return people who consented to training."""
    now = int(time.time())
    grant = Grant(
        purpose=Purpose.TRAINING,
        modalities=frozenset({Modality.TEXT}),
        notice_version=1,
        explicit=True,
        granted_at=now - 60,
        expires_at=now + 86400,
    )
    return [
        Standing(
            subject=SubjectId(f"{number:064x}"),
            as_of=now,
            age=AgeBand.ADULT,
            grants=(grant,),
            informed_at=now - 60,
        )
        for number in range(count)
    ]


def create_stub(gate: Gate, key: SigningKey, coordinator: VerifyKey, people: int) -> FastAPI:
    """Return the internal API that an executor asks."""
    app = FastAPI()
    standings = make_people(people)
    rng = np.random.default_rng(0)
    features = rng.normal(size=(people * TURNS_EACH, 5)).astype(np.float32)
    bags = safetensors.numpy.save(
        {
            "features": features,
            "labels": rng.integers(0, 3, len(features)),
            "owners": np.repeat(np.arange(people), TURNS_EACH),
        }
    )

    @app.post("/internal/enrolment")
    async def enrol(request: Request) -> Response:
        body = unseal("enrolment", await request.body(), coordinator)
        return Response(seal("ready", {"terms_digest": digest(body["terms"])}, key))

    def permit() -> Permit:
        use = UseRequest(
            node=NodeId(key.name),
            action=Action.TRAIN,
            purpose=Purpose.TRAINING,
            subject=BATCH_SUBJECT,
            facts=Facts(leaves_node=True, protected=True),
        )
        governance = Governance(
            as_of=int(time.time()),
            stopped=False,
            dpia_purposes=frozenset({Purpose.TRAINING}),
            minimum_notice=1,
            standing_max_age_s=3600,
        )
        return gate.open_batch(use, standings, governance, context={"run": "r"})

    @app.post("/internal/rounds")
    async def open_round(request: Request) -> dict[str, str]:
        unseal("terms", await request.body(), coordinator)
        return {
            "permit": base64.b64encode(gate.export_permit(permit())).decode(),
            "bags": base64.b64encode(bags).decode(),
        }

    @app.post("/internal/evaluations")
    async def evaluate(request: Request) -> Response:
        body = unseal("evaluation", await request.body(), coordinator)
        terms = terms_from_dict(body["terms"])
        assert terms.plan.evaluation is not None
        weights = weights_from_bytes(
            base64.b64decode(body["weights"]), shape=plan_shape(terms.plan)
        )
        table = evaluate_round(
            plan_head(terms.plan, weights),
            bags_from_bytes(bags),
            evaluation=terms.plan.evaluation,
            max_turns=terms.plan.mechanism.max_turns,
            permit=permit(),
            now=time.time(),
        )
        answer = Update(
            run=terms.run,
            round_number=terms.round_number,
            node=NodeId(key.name),
            terms_digest=digest(body["terms"]),
            weights=table,
        )
        return Response(seal("table", update_to_dict(answer), key))

    @app.post("/internal/updates")
    async def sign(request: Request) -> Response:
        update = update_from_dict(await request.json())
        return Response(seal("update", update_to_dict(update), key))

    @app.post("/internal/releases")
    async def load(request: Request) -> Response:
        release = unseal("release", await request.body(), coordinator)["release"]
        body = {"release": release["release_id"], "digest": digest(release)}
        return Response(seal("release-loaded", body, key))

    return app
