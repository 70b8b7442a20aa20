"""The parameters of a workload at any version that is kept: how to come to it, and the objects that lead there."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from broker.api import bodies, openapi, version_shapes
from broker.api.errors import Refused
from broker.api.runs import workload_of
from workloads import versions
from workloads.models import Training


class Versions(APIView):
    """Which versions can be had."""

    scopes = {"GET": "read"}

    @extend_schema(operation_id="list_versions", responses=version_shapes.VersionsShape)
    def get(self, request: Request, pk: int) -> Response:
        """Tell the newest, and all that are kept."""
        training = Training.objects.filter(pk=workload_of(request, pk).pk).first()
        kept = versions.kept(training) if training else []
        return Response(
            version_shapes.VersionsShape({"newest": training.version if training else None, "kept": kept}).data
        )


class OneVersion(APIView):
    """One version."""

    scopes = {"GET": "read"}

    @extend_schema(operation_id="get_version", responses=version_shapes.VersionShape)
    def get(self, request: Request, pk: int, version: int) -> Response:
        """
        Tell what leads to it: the snapshot, and the updates to add to it.

        A site's way, so the same bits: docs/protocol.md says how updates are packed and added.
        """
        training = Training.objects.filter(pk=workload_of(request, pk).pk).first()
        if training is None:
            raise Refused(
                404, "version_gone", f"workload {pk} has no parameters yet", "ask again once it trains", kept=[]
            )
        try:
            way = versions.way_to(training, version)
        except versions.VersionGone as error:
            hint = "take one that can be had" if error.kept else "ask again once it trains"
            raise Refused(404, "version_gone", str(error), hint, kept=error.kept) from None
        told = {name: getattr(way, name) for name in ("version", "fingerprint", "snapshot", "updates")}
        return Response(version_shapes.VersionShape({**told, "workload": pk, "tensors": training.tensors}).data)


class Object(APIView):
    """A snapshot's or an update's bytes."""

    scopes = {"GET": "read"}

    @extend_schema(operation_id="download_object", responses=openapi.BYTES)
    def get(self, request: Request, pk: int, digest: str) -> Any:
        """Download; `Range: bytes=N-` resumes."""
        training = Training.objects.filter(pk=workload_of(request, pk).pk).first()
        if training is None or not versions.is_part_of_one(training, digest):
            raise Refused(404, "object_missing", f"no version of workload {pk} is made of {digest[:12]}")
        return bodies.send(request, digest)
