"""How fast PPO is beside what users use now, and beside a loop that does nothing else.

    python benchmarks/ppo.py [--quick] [--json benchmarks/results/ppo.json]

CartPole-v1, an actor and a critic of 64 x 64, rollouts of 128 steps, 4 epochs of 4 minibatches,
one thread: our whole training stage against Stable-Baselines3's ``learn`` and against the
algorithm of CleanRL's single file, written anew (peers/cleanrl_like.py). And the town, 64 worlds
of 8 agents, rollouts of 32 ticks, 4 epochs, minibatches of 2048: our whole stage against acting
and updating alone with the same network of torch's own layers (peers/bare_town.py). The sides
take turns; a figure is the median over the rounds of ours over theirs in the same round. Peers
are installed into the user's cache folder at the first use.
"""

from contextlib import ExitStack

from peers.sides import Side, announced, conclude, ratio, read_options, table

EIGHT, SIXTY_FOUR, TOWN = "CartPole-v1 8 x 128", "CartPole-v1 64 x 128", "town 512 x 32"


def main() -> None:
    """Measures, prints a table, and the figures in the last lines."""
    options = read_options(__doc__)
    rounds, scale = (2, 1) if options.quick else (9, 4)
    ours = Side("journeyman", "journeyman_ppo.py")
    sb3 = Side("Stable-Baselines3", "sb3_ppo.py", "sb3")
    cleanrl = Side("CleanRL's algorithm", "cleanrl_like.py", "sb3")
    bare = Side("bare act + update loop", "bare_town.py")
    eight = {"lanes": 8, "steps": 128, "updates": 12 * scale}
    sixty_four = {"lanes": 64, "steps": 128, "updates": 4 * scale}
    lanes = {"steps": 32, "updates": 2 * scale, "minibatch_size": 2048}
    works = {
        EIGHT: {ours: eight, sb3: eight, cleanrl: eight},
        SIXTY_FOUR: {ours: sixty_four, sb3: sixty_four, cleanrl: sixty_four},
        TOWN: {ours: {"lanes": 64, "town": True, **lanes}, bare: {"lanes": 512, **lanes}},
    }
    header = announced()
    with ExitStack() as stack:
        for side in (ours, sb3, cleanrl, bare):
            stack.enter_context(side)
        for work in (SIXTY_FOUR, TOWN):
            for side, request in works[work].items():
                side.ask({**request, "updates": 2})  # imports, caches, first allocations
        for _ in range(rounds):
            for work, requests in works.items():
                for side, request in requests.items():
                    side.measure(work, request)
    sides = {work: list(requests) for work, requests in works.items()}
    rows = table(list(works), sides, "transitions/s")
    figures = {
        "ppo_8x128_over_sb3": ratio(ours, sb3, EIGHT),
        "ppo_64x128_over_sb3": ratio(ours, sb3, SIXTY_FOUR),
        "ppo_8x128_over_cleanrl": ratio(ours, cleanrl, EIGHT),
        "ppo_64x128_over_cleanrl": ratio(ours, cleanrl, SIXTY_FOUR),
        "town_ppo_over_bare": ratio(ours, bare, TOWN),
    }
    conclude(options.json, header, rows, figures)


if __name__ == "__main__":
    main()
