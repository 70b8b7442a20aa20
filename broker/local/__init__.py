"""Everything `make run` starts on one machine: embedded Postgres and Redis, processes, hosts."""
