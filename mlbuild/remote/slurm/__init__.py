"""Jobs in Slurm, handed in by its own commands."""
