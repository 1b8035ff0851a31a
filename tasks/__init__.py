"""One Prefect task for each stage: it takes a Request, holds the GPU slot if the stage needs the card, and gives the Result."""
