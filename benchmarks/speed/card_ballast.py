"""Holds a card's memory until standard input closes, so that another process finds a smaller card.

python -m benchmarks.speed.card_ballast --leave-gib 24

The limit lies outside of what is measured: what does not fit is refused by the driver.
"""

import argparse
import sys

GIB = 2**30


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument(
        "--leave-gib", type=float, required=True, help="what stays free, a stage's driver context included"
    )
    arguments = parser.parse_args()
    import torch

    torch.zeros(1, device="cuda")
    held = []
    surplus = torch.cuda.mem_get_info()[0] - int(arguments.leave_gib * GIB)
    if surplus > 0:
        held.append(torch.empty(surplus, dtype=torch.uint8, device="cuda"))
    print(f"{torch.cuda.mem_get_info()[0] / GIB:.2f} GiB free", flush=True)
    sys.stdin.read()
    held.clear()


if __name__ == "__main__":
    main()
