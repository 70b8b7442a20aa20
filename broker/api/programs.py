"""Packed scripts, and what probes measured of them."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from broker.api import bodies, openapi, workload_shapes
from broker.api.errors import Refused
from broker.api.market import RawParser
from offers.matching import profile as profiles
from workloads import operations, programs


class Programs(APIView):
    """Packed scripts, named by their hash."""

    scopes = {"GET": "read", "PUT": "run"}
    parser_classes = [RawParser]

    @extend_schema(operation_id="download_program", responses=openapi.BYTES)
    def get(self, request: Request, digest: str) -> Any:
        """Download it; `Range: bytes=N-` resumes."""
        if programs.find(owner_id=request.auth.team.pk, sha256=digest) is None:
            raise Refused(404, "program_unknown", f"no program {digest[:12]} of yours was uploaded", "PUT it first")
        return bodies.send(request, digest, filename=f"{digest[:12]}.tar.gz")

    @extend_schema(
        operation_id="put_program",
        request={"application/gzip": bytes},
        responses=dict.fromkeys((200, 201), workload_shapes.StoredProgramShape),
    )
    def put(self, request: Request, digest: str) -> Response:
        """Upload a .tar.gz of a script or a directory."""
        size, _ = bodies.receive(request._request, digest, bytes_max=settings.PROGRAM_BYTES_MAX)
        try:
            programs.check(digest)
        except programs.NotAProgram as error:
            raise Refused(422, "not_a_program", str(error), "pack it with `yard run`, or as a .tar.gz") from None
        program, made = operations.keep_program(
            owner_id=request.auth.team.pk,
            sha256=digest,
            tar_sha256=programs.tar_sha256(digest),
            size_bytes=size,
            now=timezone.now(),
        )
        return Response(workload_shapes.StoredProgramShape(program).data, status=201 if made else 200)


class Profile(APIView):
    """What a probe measured of a program."""

    scopes = {"PUT": "run"}

    @extend_schema(
        operation_id="put_profile", request=workload_shapes.ProfileShape, responses=workload_shapes.ProfileShape
    )
    def put(self, request: Request, digest: str) -> Response:
        """Keep it: quotes of this program are then made with it."""
        try:
            profile = profiles.parse(request.data)
        except profiles.ProfileInvalid as error:
            raise Refused(422, "invalid", str(error), "`yard probe` makes one") from None
        if not operations.keep_profile(owner_id=request.auth.team.pk, sha256=digest, profile=profile.as_json()):
            raise Refused(404, "program_unknown", f"no program {digest[:12]} was uploaded", "PUT it first")
        return Response(profile.as_json())
