"""
The one table of accelerators: what a provider's label means.

Memory is GiB per accelerator as sold; tflops is dense bf16 (fp16 where the chip has no bf16) without sparsity, used
only to compare chips when a speed was measured on another one. Sources, by the letter in the table: N the data sheets
at nvidia.com/en-us/data-center and nvidia.com/en-us/geforce, A amd.com/en/products/accelerators, G
cloud.google.com/tpu/docs/system-architecture, I intel.com/gaudi, W aws.amazon.com/machine-learning and the Neuron
documentation, Q qualcomm.com/cloud-ai-100, R arm.com; slices from docs.nvidia.com/datacenter/tesla/mig-user-guide.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import lru_cache


@dataclass(frozen=True, slots=True)
class Accelerator:
    """One kind of chip, however a provider spells it."""

    name: str
    family: str  # What people ask for when the variant does not matter: "H100" is SXM, PCIe and NVL.
    vendor: str
    memory_gib: float
    tflops: float | None  # None: no comparable figure is published.
    known: bool = True
    per_label: int = 1  # Chips that the label stands for: a "tpu-v5p-8" is four of them.


VENDORS = {"N": "NVIDIA", "A": "AMD", "G": "Google", "W": "AWS", "I": "Intel", "Q": "Qualcomm", "C": "CPU", "R": "Arm"}

# name | family | source | GiB | TFLOPS | other spellings; case, vendor words, spaces and dashes do not matter.
TABLE = """
CPU | CPU | C | 0 | |
B300 | B300 | N | 270 | 2250 | B300-Blackwell, B300 SXM6, B300 SXM6 AC, B300 288GB
B200 | B200 | N | 180 | 2250 | B200-Blackwell, B200 SXM6, B200 180GB, B200 SXM, B200 192GB
GB200 | GB200 | N | 186 | 2500 | GB200 NVL72, GB200 NVL4, GB200 186GB
GB300 | GB300 | N | 278 | 2500 | GB300 NVL72
H200 | H200 | N | 141 | 989 | H200 SXM, H200 SXM5, H200 141GB, H200 SXM5 141GB, H200 141GB HBM3e
H200-NVL | H200 | N | 141 | 836 | H200 NVL, H200 PCIe
GH200 | GH200 | N | 96 | 989 | GH200 480GB, GH200 96GB, GH200 (96 GB), GH200 Grace Hopper
H100-SXM | H100 | N | 80 | 989 | H100, H100 SXM5, H100 (80 GB SXM5), H100 80GB SXM5, H100 80GB HBM3, H100-MEGA, H100_80GB, H100 SXM5 80GB, H100 Mega 80GB
H100-PCIE | H100 | N | 80 | 756 | H100 PCIe, H100 (80 GB PCIe), H100 PCIe 80GB, H100 80GB PCIe, H100 CNX
H100-NVL | H100 | N | 94 | 835 | H100 NVL, H100 NVL 94GB
H800 | H800 | N | 80 | 989 | H800 SXM, H800 80GB
H20 | H20 | N | 96 | 148 | H20 96GB, H20 SXM
A100-80GB | A100 | N | 80 | 312 | A100-80G, A100 80GB SXM4, A100-SXM4-80GB, A100 (80 GB SXM4), A100_80GB, A100 SXM 80GB, A100 SXM4 (80GB), A100 Ultra
A100-80GB-PCIE | A100 | N | 80 | 312 | A100 80GB PCIe, A100 PCIe 80GB, A100-PCIE-80GB, A100 (80 GB PCIe), A100X
A100-40GB | A100 | N | 40 | 312 | A100, A100-40G, A100-SXM4-40GB, A100 (40 GB SXM4), A100_40GB, A100 SXM 40GB, A100 SXM4, A100 SXM
A100-40GB-PCIE | A100 | N | 40 | 312 | A100-PCIE-40GB, A100 PCIe, A100 40GB PCIe, A100 (40 GB PCIe), A100 PCIe 40GB
A800-80GB | A800 | N | 80 | 312 | A800, A800 SXM4 80GB, A800 PCIe
L40S | L40S | N | 48 | 362 | L40S 48GB
L40 | L40 | N | 48 | 181 | L40 48GB, L40G
L20 | L20 | N | 48 | 119 | L20 48GB
L4 | L4 | N | 24 | 121 | L4 24GB
L2 | L2 | N | 24 | 97 |
RTX-PRO-6000 | RTX-PRO-6000 | N | 96 | 503 | RTX-PRO-6000-Blackwell, RTXPro6000, RTX PRO 6000 Blackwell Server Edition, RTX PRO 6000 S, RTX PRO 6000 WS, RTX PRO 6000 Blackwell Workstation Edition, RTX PRO 6000 Blackwell Max-Q Workstation Edition, RTX 6000 Pro, Pro 6000, RTX PRO Server 6000
RTX-PRO-5000 | RTX-PRO-5000 | N | 48 | | RTX PRO 5000 Blackwell, RTX PRO 5000
RTX-PRO-4500 | RTX-PRO-4500 | N | 32 | | RTX PRO 4500 Blackwell
RTX-PRO-4000 | RTX-PRO-4000 | N | 24 | | RTX PRO 4000 Blackwell
RTX6000-Ada | RTX6000-Ada | N | 48 | 364 | RTX 6000 Ada, RTX 6000 Ada Generation, RTX6000Ada 48GB, 6000 Ada
RTX5880-Ada | RTX5880-Ada | N | 48 | 277 | RTX 5880 Ada, RTX 5880 Ada Generation
RTX5000-Ada | RTX5000-Ada | N | 32 | 261 | RTX 5000 Ada, RTX 5000 Ada Generation
RTX4500-Ada | RTX4500-Ada | N | 24 | 158 | RTX 4500 Ada, RTX 4500 Ada Generation
RTX4000-Ada | RTX4000-Ada | N | 20 | 107 | RTX 4000 Ada, RTX 4000 Ada Generation, RTX 4000 SFF Ada, RTX 4000 SFF Ada Generation
RTX2000-Ada | RTX2000-Ada | N | 16 | 48 | RTX 2000 Ada, RTX 2000 Ada Generation
RTX5090 | RTX5090 | N | 32 | 210 | RTX 5090, RTX 5090 D
RTX5080 | RTX5080 | N | 16 | 113 | RTX 5080
RTX5070Ti | RTX5070Ti | N | 16 | 88 | RTX 5070 Ti
RTX5070 | RTX5070 | N | 12 | 62 | RTX 5070
RTX5060Ti | RTX5060Ti | N | 16 | 47 | RTX 5060 Ti
RTX5060 | RTX5060 | N | 8 | 38 | RTX 5060
RTX4090 | RTX4090 | N | 24 | 165 | RTX 4090, RTX 4090D, RTX 4090 D
RTX4080S | RTX4080 | N | 16 | 104 | RTX 4080 SUPER, RTX 4080S
RTX4080 | RTX4080 | N | 16 | 97 | RTX 4080
RTX4070Ti | RTX4070 | N | 12 | 80 | RTX 4070 Ti
RTX4070S-Ti | RTX4070 | N | 16 | 88 | RTX 4070 Ti SUPER, RTX 4070S Ti
RTX4070S | RTX4070 | N | 12 | 71 | RTX 4070 SUPER
RTX4070 | RTX4070 | N | 12 | 58 | RTX 4070
RTX4060Ti | RTX4060 | N | 16 | 44 | RTX 4060 Ti
RTX4060 | RTX4060 | N | 8 | 30 | RTX 4060
RTX3090Ti | RTX3090 | N | 24 | 80 | RTX 3090 Ti
RTX3090 | RTX3090 | N | 24 | 71 | RTX 3090
RTX3080Ti | RTX3080 | N | 12 | 68 | RTX 3080 Ti
RTX3080 | RTX3080 | N | 10 | 60 | RTX 3080
RTX3070Ti | RTX3070 | N | 8 | 43 | RTX 3070 Ti
RTX3070 | RTX3070 | N | 8 | 41 | RTX 3070
RTX3060Ti | RTX3060 | N | 8 | 32 | RTX 3060 Ti
RTX3060 | RTX3060 | N | 12 | 25 | RTX 3060
RTX2080Ti | RTX2080Ti | N | 11 | 54 | RTX 2080 Ti
RTX8000 | RTX8000 | N | 48 | 131 | RTX 8000, Quadro RTX 8000, Q RTX 8000
RTX6000 | RTX6000 | N | 24 | 131 | RTX 6000, Quadro RTX 6000, Q RTX 6000, RTX 6000 (24 GB)
RTX5000 | RTX5000 | N | 16 | 89 | RTX 5000, Quadro RTX 5000
RTX4000 | RTX4000 | N | 8 | 57 | RTX 4000, Quadro RTX 4000
RTX2080S | RTX2080 | N | 8 | 45 | RTX 2080 SUPER, RTX 2080S
RTX2080 | RTX2080 | N | 8 | 40 | RTX 2080
RTX2070S | RTX2070 | N | 8 | 36 | RTX 2070 SUPER, RTX 2070S
RTX2070 | RTX2070 | N | 8 | 30 | RTX 2070
RTX2060S | RTX2060 | N | 8 | 29 | RTX 2060 SUPER, RTX 2060S
RTX2060 | RTX2060 | N | 6 | 26 | RTX 2060
GTX1080Ti | GTX1080Ti | N | 11 | 11 | GTX 1080 Ti
TITAN-RTX | TITAN-RTX | N | 24 | 131 | Titan RTX
TITAN-V | TITAN-V | N | 12 | 110 | Titan V
A6000 | A6000 | N | 48 | 155 | RTX A6000, A6000 (48 GB)
A5000 | A5000 | N | 24 | 111 | RTX A5000
A4500 | A4500 | N | 20 | 95 | RTX A4500
A4000 | A4000 | N | 16 | 77 | RTX A4000
A2000 | A2000 | N | 12 | 64 | RTX A2000, RTX A2000 12GB
A40 | A40 | N | 48 | 150 | A40 48GB, A40 PCIe
A30 | A30 | N | 24 | 165 | A30 24GB
A16 | A16 | N | 16 | 18 | A16 16GB
A10G | A10G | N | 24 | 70 |
A10 | A10 | N | 24 | 125 | A10 PCIe, A10 (24 GB PCIe), A10 24GB
A2 | A2 | N | 16 | 18 |
V100-32GB | V100 | N | 32 | 125 | V100-32G, V100-SXM2-32GB, V100 SXM2 32GB, V100-PCIE-32GB, V100S
V100 | V100 | N | 16 | 125 | V100-16GB, V100-SXM2-16GB, V100 SXM2, V100-PCIE-16GB, V100 FHHL, V100 (16 GB), V100 SXM2 16GB
T4 | T4 | N | 16 | 65 | T4 16GB
T4G | T4G | N | 16 | 65 |
P100 | P100 | N | 16 | 19 | P100-PCIE-16GB, P100 16GB, P100-SXM2-16GB
P40 | P40 | N | 24 | | P40 24GB
P4 | P4 | N | 8 | | P4 8GB
K80 | K80 | N | 12 | | K80 12GB
K520 | K520 | N | 4 | | GRID-K520
M60 | M60 | N | 8 | | M60 8GB
M40 | M40 | N | 12 | |
MI355X | MI355X | A | 288 | 2517 | MI355
MI350X | MI350X | A | 288 | 2300 | MI350
MI325X | MI325X | A | 256 | 1307 | MI325
MI300X | MI300X | A | 192 | 1307 | MI300X OAM, MI300
MI300A | MI300A | A | 128 | 981 |
MI250X | MI250X | A | 128 | 383 | MI250X OAM
MI250 | MI250 | A | 128 | 362 |
MI210 | MI210 | A | 64 | 181 |
MI100 | MI100 | A | 32 | 92 |
MI25 | MI25 | A | 16 | 25 |
V520 | V520 | A | 8 | | Radeon-Pro-V520
V620 | V620 | A | 32 | | Radeon-Pro-V620
V710 | V710 | A | 28 | | Radeon-Pro-V710
Gaudi | Gaudi | I | 32 | | Gaudi HL-205, HL-205, Gaudi1
Gaudi2 | Gaudi2 | I | 96 | 432 | HL-225, Gaudi 2
Gaudi3 | Gaudi3 | I | 128 | 1677 | HL-325, HL-325L, Gaudi 3
Trainium | Trainium | W | 32 | 190 | Trainium1, Trn1
Trainium2 | Trainium2 | W | 96 | 667 | Trn2
Trainium3 | Trainium3 | W | 144 | | Trn3
Inferentia | Inferentia | W | 8 | | Inferentia1, Inf1
Inferentia2 | Inferentia2 | W | 32 | 95 | Inf2
Cloud-AI-100 | Cloud-AI-100 | Q | 32 | | Qualcomm-AI-100, AI 100, Qualcomm AI 100
Mali-G78 | Mali-G78 | R | 0 | | ARM-Mali-G78MP12
TPU-v2 | TPU-v2 | G | 16 | 45 |
TPU-v3 | TPU-v3 | G | 32 | 123 |
TPU-v4 | TPU-v4 | G | 32 | 275 |
TPU-v5e | TPU-v5e | G | 16 | 197 | TPU v5 lite, v5litepod
TPU-v5p | TPU-v5p | G | 95 | 459 |
TPU-v6e | TPU-v6e | G | 32 | 918 | TPU v6 lite, Trillium
TPU-v7 | TPU-v7 | G | 192 | 2307 | TPU v7x, Ironwood
"""  # noqa: E501  A row of a table stays on its line.
# A label that names several chips: the memory that comes with it tells which, from so many GiB on.
BY_MEMORY = {
    "A100-40GB": (60, "A100-80GB"),
    "A100-40GB-PCIE": (60, "A100-80GB-PCIE"),
    "H100-SXM": (90, "H100-NVL"),
    "V100": (24, "V100-32GB"),
    "RTX6000": (40, "RTX6000-Ada"),
}
NOISE = re.compile(r"nvidia|geforce|tesla|\bamd\b|instinct|radeon|\bintel\b|\bhabana\b|\bgpus?\b|[^a-z0-9.]")
SLICE = re.compile(r"[ \-]+(?:mig[ \-]*)?(\d)g[.\-](\d+)gb(?:\+me)?$", re.IGNORECASE)
SIZE = re.compile(r"[\s_(-]+(\d{1,3}) ?gb(?: ?hbm\w*)?\)?$", re.IGNORECASE)  # "H100 SXM5 80GB HBM3": its memory.
TPU = re.compile(r"^tpu-(v\d)(?:(litepod|-?lite|e|p|x))?(?:-pod(?:slice)?)?-(\d+)$", re.IGNORECASE)
CORES_PER_CHIP = {"TPU-v2": 2, "TPU-v3": 2, "TPU-v4": 2, "TPU-v5p": 2}  # These slices are named by cores.


def _read_table() -> tuple[tuple[Accelerator, ...], dict[str, Accelerator]]:
    chips: list[Accelerator] = []
    labels: dict[str, Accelerator] = {}
    for line in TABLE.strip().splitlines():
        name, family, source, memory, tflops, others = (part.strip() for part in line.split("|"))
        chip = Accelerator(name, family, VENDORS[source], float(memory), float(tflops) if tflops else None)
        chips.append(chip)
        for label in [name, *others.split(",")]:
            if key := _key(label):
                assert labels.setdefault(key, chip) is chip, f"{label} means two chips"
    return tuple(chips), labels


def _key(label: str) -> str:
    return NOISE.sub("", label.casefold())


ACCELERATORS, BY_LABEL = _read_table()
BY_NAME = {chip.name: chip for chip in ACCELERATORS}
FAMILIES = {_key(chip.family): chip.family for chip in ACCELERATORS}


@lru_cache(maxsize=4096)
def identify(label: str, memory_gib: float | None = None) -> Accelerator:
    """
    Return the chip that a provider's label means; memory_gib, per accelerator, decides between variants of one label.

    A label that the table does not know keeps its own spelling, with `known` false and memory 0.
    """
    label = label.strip()
    if slice_ := SLICE.search(label):
        return _slice(label, slice_, memory_gib)
    if tpu := TPU.match(label):
        return _tpu(label, *tpu.groups())
    chip = BY_LABEL.get(_key(label))
    if chip is None and (size := SIZE.search(label)):
        bare = label[: size.start()]
        return identify(bare, float(size[1])) if _key(bare) in BY_LABEL else _unknown(label)
    if chip is None:
        return _unknown(label)
    if chip.name in BY_MEMORY and memory_gib is not None and memory_gib >= BY_MEMORY[chip.name][0]:
        return BY_NAME[BY_MEMORY[chip.name][1]]
    return chip


def _unknown(label: str) -> Accelerator:
    return Accelerator(label, label, "Google" if label.casefold().startswith("tpu") else "", 0, None, known=False)


def _slice(label: str, found: re.Match[str], memory_gib: float | None) -> Accelerator:
    """A MIG slice "A100-SXM4-40GB MIG 1g.5gb": so many sevenths of the chip's compute, and its own memory."""
    whole = identify(label[: found.start()], memory_gib)
    sevenths, memory = int(found[1]), float(found[2])
    return replace(
        whole,
        name=f"{whole.name}-MIG-{sevenths}g.{memory:.0f}gb",
        family=f"{whole.family}-MIG",
        memory_gib=memory,
        tflops=whole.tflops * sevenths / 7 if whole.tflops else None,
    )


def _tpu(label: str, generation: str, kind: str | None, size: str) -> Accelerator:
    letter = {"litepod": "e", "lite": "e", "-lite": "e", "x": ""}.get(kind or "", kind or "")
    chip = BY_NAME.get(f"TPU-{generation.lower()}{letter.lower()}")
    if chip is None:
        return _unknown(label)
    return replace(chip, per_label=max(1, int(size) // CORES_PER_CHIP.get(chip.name, 1)))


def find(label: str) -> Accelerator | None:
    """Return the chip that a provider's label means, or None when the table does not know it."""
    chip = identify(label)
    return chip if chip.known else None


def named(label: str) -> str:
    """Return our name for a label; an unknown label keeps its own spelling."""
    return identify(label).name


def family(wish: str) -> str | None:
    """Return the family that a person asks for, or None when it is one variant or nothing that the table knows."""
    return FAMILIES.get(_key(wish))


def meant_by(wish: str) -> tuple[str, ...]:
    """
    Return our names for what a person asks for: "H100" is every variant of it, "H100 PCIe" is one.

    What the table does not know is taken as a name of its own.
    """
    wanted = family(wish)
    return tuple(chip.name for chip in ACCELERATORS if chip.family == wanted) or (identify(wish).name,)
