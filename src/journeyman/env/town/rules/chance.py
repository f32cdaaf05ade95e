"""Chance: one small generator in each world's clock record."""

from typing import Any

from journeyman.env.town.compiled import compiled

_WORD = 0xFFFFFFFF


@compiled
def draw(clock: Any) -> float:
    """Returns the next uniform number in [0, 1), a multiple of 2**-32.

    xoshiro128** 1.1 (Blackman and Vigna, "Scrambled linear pseudorandom number generators",
    2021). Its 32-bit words are kept in int64, where no intermediate value overflows.
    """
    s0, s1, s2, s3 = clock["rng_0"], clock["rng_1"], clock["rng_2"], clock["rng_3"]
    product = (s1 * 5) & _WORD
    rotated = ((product << 7) | (product >> 25)) & _WORD
    result = (rotated * 9) & _WORD
    shifted = (s1 << 9) & _WORD
    s2 ^= s0
    s3 ^= s1
    s1 ^= s2
    s0 ^= s3
    s2 ^= shifted
    clock["rng_0"], clock["rng_1"], clock["rng_2"] = s0, s1, s2
    clock["rng_3"] = ((s3 << 11) | (s3 >> 21)) & _WORD
    return result / 4294967296.0  # type: ignore[no-any-return]


@compiled
def draw_integer(clock: Any, low: int, high: int) -> int:
    """Returns a uniform integer in [low, high]."""
    return low + int(draw(clock) * (high - low + 1))
