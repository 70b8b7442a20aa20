"""The money: reads lease spans; ledger, holds. Knows workloads, never moves them."""
