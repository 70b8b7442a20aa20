"""What a reader has that the pages do not give: accounts at clouds, price lists, data, a run that trains."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from hashlib import sha256
from pathlib import Path

import psycopg
import requests

from tests.journeys.internet import Answer
from tests.journeys.yard import PROGRAMS, ROOT, Yard
from tests.node import metadata
from tests.node.stores import Hub
from tests.pages import blocks
from tests.providers import (
    aws_cloud,
    azure_cloud,
    gcp_cloud,
    lambdalabs_cloud,
    prime_cloud,
    runpod_cloud,
    shadeform_cloud,
    vast_cloud,
    verda_cloud,
)
from tests.providers.cloud import Cloud, Reply

RUN = 12  # The number of the run that the pages speak of.
PRICES = {
    "aws": "p5.48xlarge,H100,8,192,2048,98.32,39.50,us-east-1,us-east-1a\n",
    "gcp": "a2-highgpu-1g,A100,1,12,85,3.67,1.47,us-central1,us-central1-a\n",
}
COLUMNS = "InstanceType,AcceleratorName,AcceleratorCount,vCPUs,MemoryGiB,Price,SpotPrice,Region,AvailabilityZone\n"
ACCOUNTS = {
    "AWS_ACCESS_KEY_ID": aws_cloud.KEY_ID,
    "AWS_SECRET_ACCESS_KEY": aws_cloud.SECRET,
    "AZURE_TENANT_ID": azure_cloud.TENANT,
    "AZURE_CLIENT_ID": azure_cloud.CLIENT,
    "AZURE_CLIENT_SECRET": azure_cloud.SECRET,
    "AZURE_SUBSCRIPTION_ID": azure_cloud.SUBSCRIPTION,
    "LAMBDA_API_KEY": lambdalabs_cloud.KEY,
    "PRIME_API_KEY": prime_cloud.KEY,
    "PRIME_TEMPLATE_ID": prime_cloud.TEMPLATE_ID,
    "RUNPOD_API_KEY": runpod_cloud.KEY,
    "SHADEFORM_API_KEY": shadeform_cloud.KEY,
    "VAST_API_KEY": vast_cloud.KEY,
    "VERDA_CLIENT_ID": verda_cloud.CLIENT_ID,
    "VERDA_CLIENT_SECRET": verda_cloud.CLIENT_SECRET,
}


def clouds(stack: ExitStack) -> dict[str, Answer]:
    """Every cloud, at the addresses where its adapter looks for it."""
    moto = aws_cloud.start_moto()
    stack.callback(moto.stop)
    aws = [f"{name}.amazonaws.com" for region in ("us-east-1", "us-west-2")
           for name in (f"ec2.{region}", f"ssm.{region}", f"sts.{region}", f"api.pricing.{region}")]  # fmt: skip
    google = [f"{name}.googleapis.com" for name in ("compute", "cloudbilling", "cloudresourcemanager", "oauth2")]
    azure = ["management.azure.com", "login.microsoftonline.com", "prices.azure.com"]
    served: dict[str, Cloud] = {
        **dict.fromkeys(aws, aws_cloud.AwsCloud(moto)),
        **dict.fromkeys(azure, azure_cloud.AzureCloud()),
        **dict.fromkeys(google, gcp_cloud.GcpCloud()),
        "cloud.lambda.ai": lambdalabs_cloud.LambdaCloud(),
        "api.primeintellect.ai": prime_cloud.PrimeCloud(),
        "api.runpod.io": runpod_cloud.RunpodCloud(),
        "api.shadeform.ai": shadeform_cloud.ShadeformCloud(),
        "console.vast.ai": vast_cloud.VastCloud(),
        "api.verda.com": verda_cloud.VerdaCloud(),
    }
    verda = served["api.verda.com"]
    answers = {host: cloud.handle for host, cloud in served.items()}
    answers["api.verda.com"] = lambda method, path, *rest: verda.handle(method, path.removeprefix("/v1"), *rest)
    return answers


def machine(stack: ExitStack) -> dict[str, Answer]:
    """The metadata services, as a machine at Azure and one at Google see them."""
    azure, gcp = metadata.Azure(), metadata.Gcp()
    gcp.preempt()
    stack.callback(azure.close)
    stack.callback(gcp.close)
    return {"169.254.169.254": passed_on(azure.url), "metadata.google.internal": passed_on(gcp.url)}


def passed_on(url: str) -> Answer:
    """The answers of a server on loopback, as they come."""

    def answer(method: str, path: str, headers: dict[str, str], raw: bytes) -> Reply:
        kept = {name: value for name, value in headers.items() if name.lower() not in ("host", "connection")}
        session = requests.Session()
        session.trust_env = False
        told = session.request(method, url + path, headers=kept, data=raw, timeout=60, stream=True)
        names = ("content-type", "content-encoding", "content-range", "etag")
        sent = {name: told.headers[name] for name in names if name in told.headers}
        return Reply(told.raw.stream(1 << 16, decode_content=False), told.status_code, sent)

    return answer


def files_at(files: dict[str, bytes]) -> Answer:
    """A server of files; what ends with a slash is a page of links."""

    def answer(method: str, path: str, _headers: dict[str, str], _raw: bytes) -> Reply | None:
        if path.endswith("/"):
            links = "".join(f'<a href="{name.rpartition("/")[2]}">.</a>' for name in files if name.startswith(path))
            return Reply(links, headers={"Content-Type": "text/html"})
        return Reply(files[path]) if path in files else Reply("", 404)

    return answer


IMAGE = b"an image"
IMAGES = {"/images/1.png": IMAGE, "/images/SHA256SUMS": f"{sha256(IMAGE).hexdigest()}  1.png\n".encode()}


def furnish(folder: Path) -> None:
    """Lay the checkout out in a folder, as links, and beside it what a reader of the README is told to bring."""
    folder.mkdir(parents=True)
    for path in ROOT.iterdir():
        if path.name not in (".git", ".yard", ".venv", "build"):
            (folder / path.name).symlink_to(path)
    (folder / ".venv").symlink_to(sys.prefix)
    for provider, rows in PRICES.items():
        (folder.parent / "price-lists" / provider).mkdir(parents=True, exist_ok=True)
        (folder.parent / "price-lists" / provider / "vms.csv").write_text(COLUMNS + rows)


def free_hosts(yard: Yard) -> None:
    """End what still runs, but run 12, and have every host lent again."""
    for run in yard.client.workloads()["results"]:
        if run["id"] != RUN and run["state"] not in ("succeeded", "failed", "cancelled", "stopping"):
            yard.client.stop_workload(run["id"])
    for host in yard.client.hosts()["results"]:
        if host["state"] in ("reclaimed", "reclaiming"):
            yard.client.return_host(host["id"])


@contextmanager
def nothing(_yard: Yard, _folder: Path) -> Iterator[dict[str, str]]:
    """The page needs nothing that it does not give."""
    yield {}


@contextmanager
def key_of_google(_yard: Yard, folder: Path) -> Iterator[dict[str, str]]:
    """The key of a service account, in the file that the page says."""
    (folder / "key.json").write_text(gcp_cloud.key_json())
    yield {}


@contextmanager
def image_of_prime(_yard: Yard, folder: Path) -> Iterator[dict[str, str]]:
    """The variable that Prime hands to an image, with a startup script in it."""
    script = f"touch {folder / 'started'}\n"
    yield {"GPUYARD_STARTUP_SCRIPT": base64.b64encode(script.encode()).decode()}
    assert (folder / "started").exists(), "the startup script was run"


@contextmanager
def shells(_yard: Yard, folder: Path) -> Iterator[dict[str, str]]:
    """The folders in which zsh and fish look for completions."""
    for name in (".zfunc", ".config/fish/completions"):
        (folder / "home" / name).mkdir(parents=True)
    yield {}


@contextmanager
def a_head_start(yard: Yard, folder: Path) -> Iterator[dict[str, str]]:
    """The next page's run begins meanwhile."""
    train_run_12(yard, folder)
    yield {}


@contextmanager
def data_and_a_run(yard: Yard, folder: Path) -> Iterator[dict[str, str]]:
    """Run 12, which is training and has a few versions, and the data that the page reads."""
    train_run_12(yard, folder)
    yard.until(lambda: (yard.show(RUN)["version"] or 0) > 3, "run 12 has versions")
    (folder / "corpus").mkdir()
    (folder / "corpus" / "train.jsonl").write_text('{"text": "one"}\n{"text": "two"}\n')
    hub = Hub(bytes(4096), b"{}")
    moto = aws_cloud.start_moto()
    host, port = moto.get_host_and_port()
    with ExitStack() as stack:
        stack.callback(moto.stop)
        stack.callback(hub.close)
        s3 = {"AWS_ENDPOINT_URL": f"http://{host}:{port}", "AWS_DEFAULT_REGION": "us-east-1"} | ACCOUNTS
        shards_in_a_bucket(folder, s3)
        yield {**s3, "HF_ENDPOINT": hub.url}
    yard.client.stop_workload(RUN)


def train_run_12(yard: Yard, folder: Path) -> None:
    """Order it as number 12, if that was not done, with a program that has a Hugging Face model's files beside it."""
    (folder / "train.py").write_bytes((PROGRAMS / "steady.py").read_bytes())
    if any(run["id"] == RUN for run in yard.client.workloads()["results"]):
        return
    with psycopg.connect(yard.knows("DATABASE_URL")) as database:
        database.execute(f"ALTER SEQUENCE workloads_workload_id_seq RESTART WITH {RUN}")
    program = folder / "program"
    program.mkdir()
    (program / "train.py").write_bytes((folder / "train.py").read_bytes())
    (program / "config.json").write_text('{"model_type": "gpt2"}')
    (program / "tokenizer.json").write_text("{}")
    words = ["run", str(program / "train.py"), "--workdir", str(program), "--gpu", "CPU", "--sites", "1", "--yes"]
    said = yard.yard(*words, "--budget", "1", "--detach", "--json", "--", "--samples", "100000")
    assert json.loads(said.splitlines()[-1])["workload"] == RUN


def shards_in_a_bucket(folder: Path, env: dict[str, str]) -> None:
    """What litdata.optimize writes, at s3://bucket/shards."""
    code = """
import boto3, pathlib
from litdata.streaming import Cache
writer = Cache("shards", chunk_bytes=4000)
for number in range(100):
    writer[number] = {"number": number}
writer.done(), writer.merge()
s3 = boto3.client("s3")
s3.create_bucket(Bucket="bucket")
for file in pathlib.Path("shards").iterdir():
    s3.put_object(Bucket="bucket", Key=f"shards/{file.name}", Body=file.read_bytes())
"""
    subprocess.run([sys.executable, "-c", code], cwd=folder, env={**os.environ, **env}, check=True)


@contextmanager
def a_script(_yard: Yard, folder: Path) -> Iterator[dict[str, str]]:
    """train.py as the README has it."""
    (script,) = (block.text for block in blocks("README.md") if block.name == "train.py")
    (folder / "train.py").write_text(script)
    yield {}


SCENES: dict[str, Callable[[Yard, Path], AbstractContextManager[dict[str, str]]]] = {
    "docs/cli.md": shells,
    "docs/notebooks.md": a_head_start,
    "docs/providers/README.md": key_of_google,
    "docs/providers/gcp.md": key_of_google,
    "docs/providers/prime.md": image_of_prime,
    "docs/training.md": data_and_a_run,
    "frontend/client/README.md": a_script,
}
# What a script of one's own has before the lines that a page shows: {page: {words of the block: lines before it}}.
BEFORE = {
    "docs/training.md": {
        "yard.Shards(": """
import gpuyard.train as yard
import torch
model = torch.nn.Linear(1, 1)
run = yard.session(model, torch.optim.SGD(model.parameters(), lr=0.1)).__enter__()
""",
        "lightning.Trainer(": """
from tests.node.callback_program import Model, Module, Numbers  # It imports the frameworks, first.
import transformers
args = transformers.TrainingArguments(use_cpu=True, save_strategy="no", report_to="none", remove_unused_columns=False)
model, dataset, held_out = Model(), Numbers(64), Numbers(8)
module = Module(model)
""",
    }
}
