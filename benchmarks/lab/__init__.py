"""Research: searches and trials that chose a setting, and the scripts that draw pictures for the docs."""
