"""The worlds' generator is the one it says it is."""

import numpy as np

from journeyman.env.town.rules.chance import draw
from journeyman.env.town.state import WORLD

MASK = 0xFFFFFFFF


def rotl(x, k):
    return ((x << k) | (x >> (32 - k))) & MASK


def xoshiro128starstar(s):
    """The authors' C code, line by line: https://prng.di.unimi.it/xoshiro128starstar.c"""
    result = rotl(s[1] * 5 & MASK, 7) * 9 & MASK
    t = s[1] << 9 & MASK
    s[2] ^= s[0]
    s[3] ^= s[1]
    s[1] ^= s[2]
    s[0] ^= s[3]
    s[2] ^= t
    s[3] = rotl(s[3], 11)
    return result


def drawn(words, count):
    clock = np.zeros(1, WORLD)[0]
    for i, word in enumerate(words):
        clock[f"rng_{i}"] = word
    interpreted = getattr(draw, "py_func", draw)
    return [int(interpreted(clock) * 2**32) for _ in range(count)]


def test_it_is_xoshiro128_starstar():
    # From the state (1, 2, 3, 4): 2 x 5 = 10, rotated left by 7 = 1280, x 9 = 11520; then the
    # second word is 1 ^ (2 ^ (3 ^ 1)) ... = 0, which gives 0.
    assert drawn((1, 2, 3, 4), 2) == [11520, 0]
    words = [int(word) for word in np.random.SeedSequence(5).generate_state(4, np.uint32)]
    expected = list(words)
    assert drawn(words, 2000) == [xoshiro128starstar(expected) for _ in range(2000)]
