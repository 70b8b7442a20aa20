"""`yard offers import`: price catalogs in SkyPilot's schema, loaded into the broker."""

from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import typer

from gpuyard import objects
from gpuyard.cli import flags
from gpuyard.cli.output import Output, report
from gpuyard.cli.session import connect
from gpuyard.errors import BrokerFailed, InvalidRequest


def import_catalogs(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Holds <provider>/vms.csv for each provider.")],
    json: flags.JsonFlag = False,
) -> None:
    """Load price catalogs (SkyPilot's CSV) into the broker. Needs a key with the scope `operate`.

    What a catalog held before is replaced. A catalog that is refused does not stop the others.
    """
    out = Output(json=json)
    catalogs = find_catalogs(folder)
    client = connect()
    loaded: list[objects.CatalogReport] = []
    failed: list[dict[str, Any]] = []
    code = 0
    for provider, path in catalogs:
        try:
            told = client.put_catalog(provider, csv=path.read_bytes())
        except (InvalidRequest, BrokerFailed) as error:
            failed.append({"provider": provider, "error": error.as_dict()})
            out.note(f"{path}:")
            code = report(error, as_json=False)
            continue
        loaded.append(told)
        tell_catalog(out, told)
    total = total_of(loaded)
    out.document({"catalogs": loaded, "failed": failed, "total": total})
    out.line(f"total: {counts_of(total)}")
    if code:
        raise typer.Exit(code)


def find_catalogs(folder: Path) -> list[tuple[str, Path]]:
    """(provider, path) of every <provider>/vms.csv in the folder. Raises: typer.BadParameter when there is none."""
    if not folder.is_dir():
        raise typer.BadParameter(f"{folder} is not a folder; expected DIR/<provider>/vms.csv", param_hint="DIR")
    found = [(path.parent.name, path) for path in sorted(folder.glob("*/vms.csv"))]
    if not found:
        above = "; name the folder above it" if (folder / "vms.csv").is_file() else ""
        raise typer.BadParameter(
            f"{folder} holds no catalog; expected files such as {folder}/aws/vms.csv, one folder a provider{above}",
            param_hint="DIR",
        )
    return found


def tell_catalog(out: Output, told: objects.CatalogReport) -> None:
    """What became of one catalog, with an example for each reason to skip."""
    out.line(f"{told['provider']}: {counts_of(told)}")
    for reason, count in told["skipped"].items():
        out.line(f"  skipped {count:,}: {reason}")
        for example in [each for each in told["examples"] if each["reason"] == reason][:2]:
            out.line(f"    line {example['line']}: {example['text'][:100]}")


def counts_of(told: Any) -> str:
    """The counts of a catalog or of all."""
    skipped = sum(told["skipped"].values())
    return (
        f"{told['rows']:,} rows = {told['loaded']:,} loaded + {told['not_gpu']:,} not a GPU + {skipped:,} skipped;"
        f" {told['offers']:,} offers"
    )


def total_of(loaded: list[objects.CatalogReport]) -> dict[str, Any]:
    """The counts of all catalogs together."""
    skipped: Counter[str] = Counter()
    for told in loaded:
        skipped.update(told["skipped"])
    return {
        "rows": sum(told["rows"] for told in loaded),
        "loaded": sum(told["loaded"] for told in loaded),
        "not_gpu": sum(told["not_gpu"] for told in loaded),
        "skipped": dict(skipped),
        "offers": sum(told["offers"] for told in loaded),
    }
