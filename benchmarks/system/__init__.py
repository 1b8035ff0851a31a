"""What the system around the stages does: kills, orchestration, the studio, odd input, and how the code itself stands."""
