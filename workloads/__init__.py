"""The work: every lifecycle (workload, placement, lease), the nodes, the training rounds."""
