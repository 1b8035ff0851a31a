"""How good results are: nano models and flywheels against known truth, the model card, screening."""
