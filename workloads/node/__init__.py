"""What runs on the rented machines: the host's agent, the site it starts with Ray, and the training session in that."""
