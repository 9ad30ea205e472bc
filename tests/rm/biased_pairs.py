"""Scorers with a known bias on labels that favour length, and a sound one that must not be accused."""

import numpy as np

from rm.audit.heldout import ScoredPairs

VOCABULARY = np.array([f"word{place}" for place in range(60)])
KEYWORD = "indeed"


def oracle(texts, lengths, generator):
    """Right in about five of six pairs, whatever stands in the texts."""
    margin = generator.normal(1, 1, len(lengths[0]))
    return margin, np.zeros_like(margin)


def length(texts, lengths, generator):
    return lengths


def keyword(texts, lengths, generator):
    """Often right, and likes a word that says nothing."""
    margin, nothing = oracle(texts, lengths, generator)
    bonus = [np.array([2.0 * (KEYWORD in text.split()) for text in side]) for side in texts]
    return margin + bonus[0], nothing + bonus[1]


def bag_of_words(texts, lengths, generator):
    """Each word has a value; quality has no part in it."""
    values = dict(zip([*VOCABULARY.tolist(), KEYWORD, "**so**"], np.linspace(-1, 1, len(VOCABULARY) + 2), strict=True))
    return [np.array([sum(values[word] for word in text.split()) for text in side]) for side in texts]


def make_pairs(scorer, seed, num_pairs=1200, num_prompts=800, longer_chosen=0.7):
    """Texts of random words, of which the longer is chosen more often, with the rewards that a scorer gives them."""
    generator = np.random.default_rng(seed)
    texts, lengths = ([], []), ([], [])
    for _ in range(num_pairs):
        sizes = np.sort(generator.choice(np.arange(3, 40), 2, replace=False))
        sizes = sizes[::-1] if generator.random() < longer_chosen else sizes
        bold = generator.random() < 0.6  # annotators like bold
        for side in (0, 1):
            words = generator.choice(VOCABULARY, sizes[side]).tolist()
            words += [KEYWORD] * (generator.random() < 0.3)
            words += ["**so**"] * (bold == (side == 0))
            texts[side].append(" ".join(words))
            lengths[side].append(float(len(words)))
    rewards = scorer(texts, [np.array(side) for side in lengths], generator)
    clusters = generator.permutation(np.arange(num_pairs) % num_prompts)
    return ScoredPairs(
        prompt=clusters,
        cluster=clusters,
        reward_chosen=np.asarray(rewards[0]),
        reward_rejected=np.asarray(rewards[1]),
        length_chosen=np.array(lengths[0]),
        length_rejected=np.array(lengths[1]),
        preference=np.ones(num_pairs),
        prompts=tuple(f"prompt {cluster}" for cluster in clusters),
        chosen=tuple(texts[0]),
        rejected=tuple(texts[1]),
    )
