"""What a pure length term does to a sound reward model: why the gate's limits are where they are.

Usage: python bench/length_term.py
"""

import numpy as np

NUM_PAIRS = 400_000
LABEL_SHARPNESS = 3.0  # log-odds of a vote per standard deviation of the quality difference
MODEL_NOISE = 0.8  # standard deviation of the model's error, in the same unit
LENGTH_SHIFT = 0.305  # mean length difference, chosen minus rejected, in its standard deviations: longer wins 62 %


def main() -> None:
    rng = np.random.default_rng(0)
    quality, other, error = rng.standard_normal((3, NUM_PAIRS))
    first_wins = rng.random(NUM_PAIRS) < 1 / (1 + np.exp(-LABEL_SHARPNESS * quality))
    sign = np.where(first_wins, 1.0, -1.0)  # from first minus second to chosen minus rejected
    length = (
        other + sign * LENGTH_SHIFT
    )  # better responses are longer more often, by no fixed amount for how much better
    longer = sign * length > 0
    print(f"labels prefer the longer response in {longer.mean():.1%} of the pairs")
    print("length term  accuracy  longer right  shorter right   gap  label-controlled r  pooled r")
    for term in (0.0, 0.25, 0.6, 1.2):
        margin = quality + MODEL_NOISE * error + term * length
        correct = sign * margin > 0
        gap = correct[longer].mean() - correct[~longer].mean()
        controlled = np.corrcoef(sign * margin, sign * length)[0, 1]
        pooled = np.corrcoef(margin, length)[0, 1]
        print(
            f"{term:11.2f}  {correct.mean():8.3f}  {correct[longer].mean():12.3f}  {correct[~longer].mean():13.3f}"
            f"  {gap:+.3f}  {controlled:18.3f}  {pooled:8.3f}"
        )


if __name__ == "__main__":
    main()
