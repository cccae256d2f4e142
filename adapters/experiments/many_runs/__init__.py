"""Many runs: planned, their settings searched, and run here, by Ray or by Slurm."""
