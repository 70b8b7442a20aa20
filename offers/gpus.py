"""
The one table of accelerator names.

Memory is GiB per accelerator as sold; `tflops` is dense bf16 (fp16 where the chip has no bf16) without sparsity, from
the vendors' data sheets (nvidia.com/en-us/data-center, amd.com/en/products/accelerators, cloud.google.com/tpu/docs). It
is used only to compare chips when a speed was measured on another one.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Accelerator:
    """One kind of chip, however a provider spells it."""

    name: str
    vendor: str
    memory_gib: float
    tflops: float | None  # None: no comparable figure is published.
    aliases: tuple[str, ...] = ()


NVIDIA, AMD, GOOGLE, AWS, INTEL, HOST = "NVIDIA", "AMD", "Google", "AWS", "Intel", "CPU"

ACCELERATORS = (
    Accelerator("CPU", HOST, 0, None),
    Accelerator("B300", NVIDIA, 270, 2250, ("B300-Blackwell", "B300 SXM6", "NVIDIA B300")),
    Accelerator("B200", NVIDIA, 180, 2250, ("B200-Blackwell", "NVIDIA B200", "B200 SXM6")),
    Accelerator("GB200", NVIDIA, 186, 2500, ("NVIDIA GB200",)),
    Accelerator("H200", NVIDIA, 141, 989, ("H200 SXM", "H200 SXM5", "NVIDIA H200", "H200-141GB")),
    Accelerator("H200-NVL", NVIDIA, 141, 836, ("H200 NVL", "NVIDIA H200 NVL")),
    Accelerator("GH200", NVIDIA, 96, 989, ("GH200 480GB", "NVIDIA GH200 480GB")),
    Accelerator(
        "H100-SXM",
        NVIDIA,
        80,
        989,
        (
            "H100 SXM",
            "H100 SXM5",
            "H100 (80 GB SXM5)",
            "H100 80GB SXM5",
            "NVIDIA H100 80GB HBM3",
            "H100-MEGA",
            "H100_80GB",
            "H100",
        ),
    ),
    Accelerator("H100-PCIE", NVIDIA, 80, 756, ("H100 PCIe", "NVIDIA H100 PCIe", "H100 (80 GB PCIe)")),
    Accelerator("H100-NVL", NVIDIA, 94, 835, ("H100 NVL", "NVIDIA H100 NVL")),
    Accelerator(
        "A100-80GB",
        NVIDIA,
        80,
        312,
        (
            "A100-80G",
            "A100 80GB",
            "A100-SXM4-80GB",
            "NVIDIA A100-SXM4-80GB",
            "NVIDIA A100 80GB PCIe",
            "A100 (80 GB SXM4)",
            "A100_80GB",
            "A100 SXM4 80GB",
        ),
    ),
    Accelerator(
        "A100-40GB",
        NVIDIA,
        40,
        312,
        ("A100", "A100-SXM4-40GB", "NVIDIA A100-SXM4-40GB", "A100 (40 GB SXM4)", "A100_40GB", "NVIDIA A100-PCIE-40GB"),
    ),
    Accelerator("L40S", NVIDIA, 48, 362, ("NVIDIA L40S",)),
    Accelerator("L40", NVIDIA, 48, 181, ("NVIDIA L40",)),
    Accelerator("L4", NVIDIA, 24, 121, ("NVIDIA L4",)),
    Accelerator(
        "RTX-PRO-6000",
        NVIDIA,
        96,
        503,
        ("RTX-PRO-6000-Blackwell", "RTXPro6000", "RTX PRO 6000", "RTX PRO 6000 Blackwell Server Edition"),
    ),
    Accelerator(
        "RTX6000-Ada",
        NVIDIA,
        48,
        182,
        ("RTX6000Ada", "RTX-6000-Ada", "RTX 6000 Ada", "RTX 6000Ada", "NVIDIA RTX 6000 Ada Generation"),
    ),
    Accelerator("RTX5000-Ada", NVIDIA, 32, 130, ("RTX5000Ada", "RTX 5000 Ada", "RTX 5000Ada")),
    Accelerator("RTX4000-Ada", NVIDIA, 20, 53, ("RTX4000Ada", "RTX 4000 Ada", "RTX 4000Ada")),
    Accelerator("RTX5090", NVIDIA, 32, 210, ("RTX 5090", "GeForce RTX 5090", "NVIDIA GeForce RTX 5090")),
    Accelerator("RTX5080", NVIDIA, 16, 113, ("RTX 5080", "NVIDIA GeForce RTX 5080")),
    Accelerator("RTX4090", NVIDIA, 24, 165, ("RTX 4090", "GeForce RTX 4090", "NVIDIA GeForce RTX 4090")),
    Accelerator("RTX4080", NVIDIA, 16, 97, ("RTX 4080", "NVIDIA GeForce RTX 4080")),
    Accelerator("RTX3090", NVIDIA, 24, 71, ("RTX 3090", "GeForce RTX 3090", "NVIDIA GeForce RTX 3090")),
    Accelerator("A6000", NVIDIA, 48, 155, ("RTX A6000", "NVIDIA RTX A6000")),
    Accelerator("A5000", NVIDIA, 24, 111, ("RTX A5000", "NVIDIA RTX A5000")),
    Accelerator("A4000", NVIDIA, 16, 77, ("RTX A4000", "NVIDIA RTX A4000")),
    Accelerator("A40", NVIDIA, 48, 150, ("NVIDIA A40",)),
    Accelerator("A30", NVIDIA, 24, 165, ("NVIDIA A30",)),
    Accelerator("A16", NVIDIA, 16, 18, ("NVIDIA A16",)),
    Accelerator("A10G", NVIDIA, 24, 70, ("NVIDIA A10G",)),
    Accelerator("A10", NVIDIA, 24, 125, ("NVIDIA A10",)),
    Accelerator("V100-32GB", NVIDIA, 32, 125, ("V100-32G", "Tesla V100-SXM2-32GB", "V100-SXM2-32GB")),
    Accelerator("V100", NVIDIA, 16, 125, ("V100-16GB", "Tesla V100-SXM2-16GB")),
    Accelerator("T4", NVIDIA, 16, 65, ("Tesla T4", "NVIDIA T4")),
    Accelerator("P100", NVIDIA, 16, 19, ("Tesla P100-PCIE-16GB",)),
    Accelerator("P4", NVIDIA, 8, None, ("Tesla P4",)),
    Accelerator("K80", NVIDIA, 12, None, ("Tesla K80",)),
    Accelerator("M60", NVIDIA, 8, None, ("Tesla M60",)),
    Accelerator("MI355X", AMD, 288, 2517, ("AMD Instinct MI355X",)),
    Accelerator("MI325X", AMD, 256, 1307, ("AMD Instinct MI325X",)),
    Accelerator("MI300X", AMD, 192, 1307, ("AMD Instinct MI300X",)),
    Accelerator("MI250X", AMD, 128, 383, ("AMD Instinct MI250X",)),
    Accelerator("MI25", AMD, 16, 25, ("Radeon Instinct MI25",)),
    Accelerator("V520", AMD, 8, None, ("Radeon-Pro-V520", "Radeon Pro V520")),
    Accelerator("Gaudi2", INTEL, 96, 432, ("HL-225", "Gaudi 2")),
    Accelerator("Gaudi3", INTEL, 128, 1835, ("HL-325", "Gaudi 3")),
    Accelerator("Trainium", AWS, 32, 95, ("Trainium1", "Trn1")),
    Accelerator("Trainium2", AWS, 96, 667, ("Trn2",)),
    Accelerator("Inferentia", AWS, 8, None, ("Inferentia1",)),
    Accelerator("Inferentia2", AWS, 32, 95, ()),
)
BY_LABEL = {label.casefold(): chip for chip in ACCELERATORS for label in (chip.name, *chip.aliases)}


def find(label: str) -> Accelerator | None:
    """Return the chip that a provider's label means, or None when the table does not know it."""
    return BY_LABEL.get(label.strip().casefold())


def named(label: str) -> str:
    """Return our name for a label; an unknown label keeps its own spelling."""
    chip = find(label)
    return chip.name if chip else label.strip()


def vendor_of(label: str) -> str:
    """Return the maker, or an empty string when it cannot be told from the label."""
    chip = find(label)
    if chip:
        return chip.vendor
    return GOOGLE if label.casefold().startswith("tpu") else ""
