"""The dtypes that a config may ask for; `hardware.py` says which one the hardware wants."""

from typing import Literal

Precision = Literal["auto", "bf16", "fp16", "fp32", "fp64"]
