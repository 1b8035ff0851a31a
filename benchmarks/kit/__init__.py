"""What benchmarks and tests share: a running workspace and stand-in stages."""
