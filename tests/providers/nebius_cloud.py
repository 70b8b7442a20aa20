"""Nebius on loopback: a gRPC server that speaks with the messages of Nebius' own SDK and keeps machines and disks."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import grpc
from nebius.aio.idempotency import HEADER
from nebius.api.google.protobuf import Any as AnyMessage
from nebius.api.google.rpc import Status
from nebius.api.nebius.billing import v1 as policies
from nebius.api.nebius.billing import v1alpha1 as billing
from nebius.api.nebius.capacity import v1 as capacity
from nebius.api.nebius.common import v1 as common
from nebius.api.nebius.compute import v1 as compute
from nebius.api.nebius.iam import v1 as iam
from nebius.api.nebius.iam import v2 as projects
from nebius.api.nebius.vpc import v1 as vpc

PROJECT, TENANT, REGION, TOKEN = "project-e00gpuyard", "tenant-e00gpuyard", "eu-north1", "token-of-nebius-4711"
USD = {"1gpu-16vcpu-200gb": Decimal("2.95"), "8gpu-128vcpu-1600gb": Decimal("23.6"), "1gpu-8vcpu-32gb": Decimal("1.55")}
SPOT_USD_PER_GPU = Decimal("1.25")
DISK_USD_PER_GIB = Decimal("0.0001")
LOSE_THE_ANSWER = "lose the answer"
State = compute.InstanceStatus.InstanceState
Level = capacity.ResourceAdviceStatus.Availability.AvailabilityLevel
Fresh = capacity.ResourceAdviceStatus.Availability.DataState


class Refused(Exception):
    """What a call is answered with: a code, words and Nebius' details."""

    def __init__(self, code: grpc.StatusCode, words: str = "no", **details: Any) -> None:
        super().__init__(words)
        self.code, self.words = code, words
        self.errors = [common.ServiceError(service="compute", code="Refused", **details)] if details else []

    def status(self) -> Status:
        packed = [
            AnyMessage(type_url="type.googleapis.com/nebius.common.v1.ServiceError", value=error.SerializeToString())
            for error in self.errors
        ]
        return Status(code=self.code.value[0], message=self.words, details=packed)


def sold_out() -> Refused:
    violation = common.NotEnoughResources.Violation(resource_type="gpu-h100-sxm", requested="8", message="none left")
    return Refused(
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        "not enough resources",
        not_enough_resources=common.NotEnoughResources(violations=[violation]),
    )


def over_quota() -> Refused:
    violation = common.QuotaFailure.Violation(quota="compute.instance.gpu.h100", limit="0", requested="8")
    return Refused(
        grpc.StatusCode.RESOURCE_EXHAUSTED, "quota", quota_failure=common.QuotaFailure(violations=[violation])
    )


def _platform(name: str, gpu_gb: int, presets: list[tuple[str, int, int, int]], *, spot: bool) -> compute.Platform:
    return compute.Platform(
        metadata=common.ResourceMetadata(id=f"computeplatform-{name}", parent_id=PROJECT, name=name),
        spec=compute.PlatformSpec(
            presets=[
                compute.Preset(
                    name=preset,
                    resources=compute.PresetResources(vcpu_count=vcpus, memory_gibibytes=ram, gpu_count=gpus),
                    allow_gpu_clustering=gpus == 8,
                )
                for preset, gpus, vcpus, ram in presets
            ],
            gpu_memory_gigabytes=gpu_gb,
        ),
        status=compute.PlatformStatus(allowed_for_preemptibles=spot),
    )


PLATFORMS = [
    _platform("cpu-d3", 0, [("4vcpu-16gb", 0, 4, 16)], spot=False),
    _platform(
        "gpu-h100-sxm", 80, [("1gpu-16vcpu-200gb", 1, 16, 200), ("8gpu-128vcpu-1600gb", 8, 128, 1600)], spot=True
    ),
    _platform("gpu-l40s-a", 48, [("1gpu-8vcpu-32gb", 1, 8, 32)], spot=False),
]


def advice(preset: str, on_demand: tuple[int, Any], preemptible: tuple[int, Any], **where: str) -> Any:
    def free(told: tuple[int, Any]) -> Any:
        return capacity.ResourceAdviceStatus.Availability(
            data_state=Fresh.DATA_STATE_FRESH if told[0] >= 0 else Fresh.DATA_STATE_STALE,
            available=abs(told[0]),
            availability_level=told[1],
        )

    return capacity.ResourceAdvice(
        metadata=common.ResourceMetadata(parent_id=TENANT),
        spec=capacity.ResourceAdviceSpec(
            region=where.get("region", REGION),
            fabric=where.get("fabric", "fabric-2"),
            compute_instance=capacity.ComputeInstanceDetails(
                platform="gpu-h100-sxm", preset=capacity.ComputeInstanceDetails.Preset(name=preset)
            ),
        ),
        status=capacity.ResourceAdviceStatus(on_demand=free(on_demand), preemptible=free(preemptible)),
    )


class NebiusCloud:
    """
    One project. `trouble` holds (method, Refused or LOSE_THE_ANSWER): each is used up by the first call that fits.

    A Refused under "operation" is the bad end of the next creation, which leaves a machine in ERROR behind.
    """

    def __init__(self) -> None:
        self.calls: list[tuple[str, Any, dict[str, str]]] = []
        self.trouble: list[tuple[str, Refused | str]] = []
        self.spoil: Callable[[bytes], bytes] | None = None
        self.platforms = list(PLATFORMS)
        self.advice: list[Any] = []
        self.instances: dict[str, Any] = {}
        self.disks: dict[str, Any] = {}
        self.policies: dict[str, Any] = {}
        self.operations: dict[str, Any] = {}
        self.replies: dict[str, Any] = {}
        self.events: dict[str, Any] = {}
        self.series: list[Any] = []
        self.public_key: Any = None
        self.tokens = {TOKEN}
        self.page = 1000
        self._routes = {
            "compute.v1.PlatformService/List": (compute.ListPlatformsRequest, self._list_platforms),
            "compute.v1.InstanceService/List": (compute.ListInstancesRequest, self._list_instances),
            "compute.v1.InstanceService/GetByName": (common.GetByNameRequest, lambda r, _: _by_name(self.instances, r)),
            "compute.v1.InstanceService/Create": (compute.CreateInstanceRequest, self._create_instance),
            "compute.v1.InstanceService/Delete": (compute.DeleteInstanceRequest, self._delete_instance),
            "compute.v1.DiskService/GetByName": (common.GetByNameRequest, lambda r, _: _by_name(self.disks, r)),
            "compute.v1.DiskService/Delete": (compute.DeleteDiskRequest, self._delete_disk),
            "compute.v1.OperationService/Get": (common.GetOperationRequest, self._operation),
            "billing.v1.OperationService/Get": (common.GetOperationRequest, self._operation),
            "common.v1.OperationService/Get": (common.GetOperationRequest, self._operation),
            "compute.v1.MaintenanceService/GetByInstance": (
                compute.GetMaintenanceEventByInstanceRequest, lambda r, _: self.events[r.instance_id]),
            "billing.v1alpha1.CalculatorService/Estimate": (billing.EstimateRequest, self._estimate),
            "billing.v1alpha1.SpotPriceService/ListSeries": (billing.ListSpotPriceSeriesRequest, self._list_series),
            "billing.v1.PricingPolicyService/Create": (policies.CreatePricingPolicyRequest, self._create_policy),
            "billing.v1.PricingPolicyService/GetByName": (
                common.GetByNameRequest, lambda r, _: _by_name(self.policies, r)),
            "billing.v1.PricingPolicyService/Delete": (policies.DeletePricingPolicyRequest, self._delete_policy),
            "capacity.v1.ResourceAdviceService/List": (capacity.ListResourceAdviceRequest, self._list_advice),
            "iam.v2.ProjectService/Get": (projects.GetProjectRequest, self._get_project),
            "iam.v1.TokenExchangeService/Exchange": (iam.ExchangeTokenRequest, self._exchange),
            "vpc.v1.SubnetService/List": (vpc.ListSubnetsRequest, self._list_subnets),
        }  # fmt: skip

    def __enter__(self) -> NebiusCloud:
        self._pool = ThreadPoolExecutor(4)
        self._server = grpc.server(self._pool)
        self._server.add_generic_rpc_handlers((_Handlers(self),))
        self.url = f"http://127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop(0).wait()
        self._pool.shutdown()

    def handle(self, path: str, raw: bytes, context: grpc.ServicerContext) -> bytes:
        method = path.removeprefix("/nebius.")
        metadata = {name: str(value) for name, value in context.invocation_metadata()}
        if method not in self._routes:
            context.abort(grpc.StatusCode.UNIMPLEMENTED, f"{method} is not faked")
        kind, answer = self._routes[method]
        request = kind.FromString(raw)
        self.calls.append((method, request, metadata))
        try:
            if not method.startswith("iam.v1.TokenExchange"):
                self._authorize(metadata)
            trouble = self._trouble(method)
            if isinstance(trouble, Refused):
                raise trouble
            sent: bytes = self._once(method, metadata, lambda: answer(request, metadata)).SerializeToString()
            if trouble == LOSE_THE_ANSWER:
                raise Refused(grpc.StatusCode.UNAVAILABLE, "connection reset")
        except Refused as refused:
            context.set_trailing_metadata((("grpc-status-details-bin", refused.status().SerializeToString()),))
            context.abort(refused.code, refused.words)
        return self.spoil(sent) if self.spoil else sent

    def boot(self) -> None:
        for number, instance in enumerate(self.instances.values()):
            if instance.status.state is State.CREATING:
                instance.status.state = State.RUNNING
                instance.status.network_interfaces = [
                    compute.NetworkInterfaceStatus(
                        name="eth0",
                        ip_address=compute.IPAddressStatus(address=f"10.0.0.{number}/32"),
                        public_ip_address=compute.PublicIPAddressStatus(address=f"192.0.2.{number}/32"),
                    )
                ]

    def put(self, name: str, state: Any = State.RUNNING) -> Any:
        """Put a machine into the project without being asked."""
        made = compute.Instance(
            metadata=common.ResourceMetadata(
                id=f"computeinstance-{len(self.calls)}{name}", parent_id=PROJECT, name=name
            ),
            status=compute.InstanceStatus(state=state),
        )
        self.instances[made.metadata.id] = made
        return made

    def _authorize(self, metadata: dict[str, str]) -> None:
        if metadata.get("authorization", "").removeprefix("Bearer ") not in self.tokens:
            raise Refused(grpc.StatusCode.UNAUTHENTICATED, "unknown token")

    def _trouble(self, method: str) -> Refused | str | None:
        for index, (wanted, trouble) in enumerate(self.trouble):
            if method.endswith(wanted):
                del self.trouble[index]
                return trouble
        return None

    def _once(self, method: str, metadata: dict[str, str], make: Callable[[], Any]) -> Any:
        """Answer a creation that bears a known idempotency key as the first time."""
        if not method.endswith("/Create"):
            return make()
        key = f"{method} {metadata[HEADER]}"
        if key not in self.replies:
            self.replies[key] = make()
        return self.replies[key]

    def _get_project(self, request: Any, _: Any) -> Any:
        if request.id != PROJECT:
            raise Refused(grpc.StatusCode.NOT_FOUND, "no such project")
        return projects.Project(
            metadata=common.ResourceMetadata(id=PROJECT, parent_id=TENANT), spec=projects.ProjectSpec(region=REGION)
        )

    def _exchange(self, request: Any, _: Any) -> Any:
        import jwt

        jwt.decode(request.subject_token, self.public_key, algorithms=["RS256"], options={"verify_aud": False})
        self.tokens.add("exchanged")
        return iam.CreateTokenResponse(access_token="exchanged", token_type="Bearer", expires_in=3600)

    def _list_platforms(self, request: Any, _: Any) -> Any:
        _need(request.parent_id == PROJECT, "parent_id")
        return self._paged(compute.ListPlatformsResponse, self.platforms, request)

    def _list_instances(self, request: Any, _: Any) -> Any:
        _need(request.parent_id == PROJECT, "parent_id")
        return self._paged(compute.ListInstancesResponse, list(self.instances.values()), request)

    def _list_advice(self, request: Any, _: Any) -> Any:
        _need(request.parent_id == TENANT, "parent_id must be a tenant")
        return self._paged(capacity.ListResourceAdviceResponse, self.advice, request)

    def _list_series(self, request: Any, _: Any) -> Any:
        oldest = datetime.now(UTC) - timedelta(days=30)
        _need(request.filters.start_time >= oldest, "start_time must be within the last 30 days")
        return self._paged(billing.ListSpotPriceSeriesResponse, self.series, request)

    def _list_subnets(self, request: Any, _: Any) -> Any:
        _need(request.parent_id == PROJECT, "parent_id")
        return vpc.ListSubnetsResponse(items=[vpc.Subnet(metadata=common.ResourceMetadata(id="vpcsubnet-1"))])

    def _paged(self, kind: Any, items: list[Any], request: Any) -> Any:
        start = int(request.page_token or 0)
        end = start + min(self.page, request.page_size or self.page)
        return kind(items=items[start:end], next_page_token=str(end) if end < len(items) else "")

    def _estimate(self, request: Any, _: Any) -> Any:
        spec = request.resource_spec
        if spec.compute_disk_spec is not None:
            usd = spec.compute_disk_spec.spec.size_gibibytes * DISK_USD_PER_GIB
        else:
            wanted = spec.compute_instance_spec.spec
            _, preset = self._preset(wanted.resources)
            spot = wanted.check_presence("preemptible")
            usd = SPOT_USD_PER_GPU * preset.resources.gpu_count if spot else USD[preset.name]
        total = billing.CostBreakdown(cost=str(usd), cost_rounded=f"{usd:.2f}")
        return billing.EstimateResponse(
            hourly_cost=billing.ResourceGroupCost(general=billing.GeneralTotalCost(total=total))
        )

    def _preset(self, resources: Any) -> tuple[Any, Any]:
        for platform in self.platforms:
            for preset in platform.spec.presets:
                if (platform.metadata.name, preset.name) == (resources.platform, resources.preset):
                    return platform, preset
        raise Refused(grpc.StatusCode.INVALID_ARGUMENT, "unknown platform or preset")

    def _create_instance(self, request: Any, _: Any) -> Any:
        name, spec = request.metadata.name, request.spec
        _need(request.metadata.parent_id == PROJECT, "metadata.parent_id")
        _need(0 < len(name) <= 63, "metadata.name")
        platform, _preset = self._preset(spec.resources)
        disk = spec.boot_disk.managed_disk
        _need(spec.boot_disk.attach_mode is compute.AttachedDiskSpec.AttachMode.READ_WRITE, "boot_disk.attach_mode")
        _need(disk is not None and disk.spec.source_image_family is not None, "boot_disk")
        _need(any(one.subnet_id for one in spec.network_interfaces), "network_interfaces")
        if name in {one.metadata.name for one in (*self.instances.values(), *self.disks.values())}:
            raise Refused(grpc.StatusCode.ALREADY_EXISTS, "the name is taken")
        if spec.check_presence("preemptible"):
            _need(platform.status.allowed_for_preemptibles, "preemptible")
            _need(spec.preemptible.on_preemption is compute.PreemptibleSpec.PreemptionPolicy.STOP, "on_preemption")
            _need(spec.spot_pricing_policy is None or spec.spot_pricing_policy.id in self.policies, "pricing policy")
        made, bad = self.put(name, State.CREATING), self._trouble("operation")
        made.spec = spec
        held = compute.Disk(metadata=common.ResourceMetadata(id=f"computedisk-{name}", parent_id=PROJECT, name=name))
        held.status = compute.DiskStatus(read_write_attachment=made.metadata.id)
        self.disks[held.metadata.id] = held
        if isinstance(bad, Refused):
            made.status.state = State.ERROR
            return self._done(made.metadata.id, bad.status())
        return self._done(made.metadata.id, None)

    def _delete_instance(self, request: Any, _: Any) -> Any:
        if (gone := self.instances.pop(request.id, None)) is None:
            raise Refused(grpc.StatusCode.NOT_FOUND, "no such machine")
        for disk in [one for one in self.disks.values() if one.status.read_write_attachment == gone.metadata.id]:
            del self.disks[disk.metadata.id]
        return self._done(request.id)

    def _delete_disk(self, request: Any, _: Any) -> Any:
        if self.disks[request.id].status.read_write_attachment in self.instances:
            raise Refused(grpc.StatusCode.FAILED_PRECONDITION, "the disk is attached")
        del self.disks[request.id]
        return self._done(request.id)

    def _create_policy(self, request: Any, _: Any) -> Any:
        limit = Decimal(request.spec.pricing.max_price_v1.max_price)
        _need(limit > 0 and limit.as_tuple().exponent == -3, "max_price")
        status = policies.PricingPolicyStatus
        blocked = limit < SPOT_USD_PER_GPU
        made = policies.PricingPolicy(
            metadata=common.ResourceMetadata(
                id=f"policy-{len(self.calls)}", parent_id=PROJECT, name=request.metadata.name
            ),
            spec=request.spec,
            status=status(
                state=status.State.STATE_ACTIVE,
                scheduling_state=status.SchedulingState.SCHEDULING_STATE_BLOCKED
                if blocked
                else status.SchedulingState.SCHEDULING_STATE_ALLOWED,
            ),
        )
        self.policies[made.metadata.id] = made
        return self._done(made.metadata.id)

    def _delete_policy(self, request: Any, _: Any) -> Any:
        for instance in self.instances.values():
            if instance.spec.spot_pricing_policy is not None and instance.spec.spot_pricing_policy.id == request.id:
                raise Refused(grpc.StatusCode.FAILED_PRECONDITION, "machines run under the policy")
        del self.policies[request.id]
        return self._done(request.id)

    def _done(self, resource_id: str, status: Status | None = None) -> Any:
        """Return an operation that is seen to have ended when it is asked for."""
        begun = common.Operation(
            id=f"operation-{len(self.calls)}", resource_id=resource_id, created_at=datetime.now(UTC)
        )
        ended = common.Operation(begun)
        ended.finished_at, ended.status = datetime.now(UTC), status or Status(code=0)
        self.operations[begun.id] = ended
        return begun

    def _operation(self, request: Any, _: Any) -> Any:
        return self.operations[request.id]


class _Handlers(grpc.GenericRpcHandler):
    def __init__(self, cloud: NebiusCloud) -> None:
        self.cloud = cloud

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        return grpc.unary_unary_rpc_method_handler(lambda raw, context: self.cloud.handle(details.method, raw, context))


def _need(true: bool, what: str) -> None:
    if not true:
        violation = common.BadRequest.Violation(field=what, message="required")
        raise Refused(grpc.StatusCode.INVALID_ARGUMENT, what, bad_request=common.BadRequest(violations=[violation]))


def _by_name(of: dict[str, Any], request: Any) -> Any:
    _need(request.parent_id == PROJECT, "parent_id")
    for one in of.values():
        if one.metadata.name == request.name:
            return one
    raise Refused(grpc.StatusCode.NOT_FOUND, "nothing of that name")
