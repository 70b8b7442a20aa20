"""`python -m gpuyard` is `yard`."""

from gpuyard.cli import main

main()
