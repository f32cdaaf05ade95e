"""Every rule of the town as a line: formula, constants by their key, and the test that holds it.

``docs/town.md`` shows these lines with the figures of ``conf/env/town.yaml`` filled in; see
``town_reference``.
"""

from typing import NamedTuple


class Rule(NamedTuple):
    """One rule.

    Attributes:
        part: what it is about; rules of one part follow each other.
        text: the rule; ``{needs.respawn}`` stands for the setting ``env.needs.respawn``.
        tests: the test functions in ``tests/env/town`` that derive its figures; together they
            hold every claim of the text.
    """

    part: str
    text: str
    tests: tuple[str, ...]


_NEEDS = "Needs"
_USE = "Objects and food"
_QUEUE = "Queues and conflicts"
_PAIR = "Relationships"
_CHAT = "Chats"
_WORK = "Work"
_TOWN = "Perturbations"
_REWARD = "Reward"
_SOCIAL = "Social rewards"

RULES: tuple[Rule, ...] = (
    Rule(
        _NEEDS,
        "hunger, hygiene and energy, in [0, 1] with 1 = satisfied, lose {needs.hunger_decay}, "
        "{needs.hygiene_decay} and {needs.energy_decay} a tick",
        ("test_needs_decay_by_one_ticks_worth",),
    ),
    Rule(
        _NEEDS,
        "at the start of an episode each is uniform in [{needs.start_low}, {needs.start_high}], "
        "and the wallet holds {money.start}",
        ("test_an_episode_starts_with_drawn_needs_and_a_full_purse",),
    ),
    Rule(
        _NEEDS,
        "faint: hunger or energy <= {needs.faint_below}; the lane terminates and its agent goes "
        "on from home with every need at {needs.respawn}; relationships and wallet stay",
        (
            "test_a_faint_ends_the_lane_and_the_agent_goes_on_from_home",
            "test_hygiene_makes_nobody_faint",
        ),
    ),
    Rule(
        _USE,
        "the object an intent goes to is the one of its kind with the least: steps + "
        "{queues.crowd_distance} x people there + ticks until the agent may use it again; an "
        "empty fridge comes after every full one",
        (
            "test_the_nearest_object_is_the_one_with_the_fewest_people",
            "test_an_object_still_closed_to_one_seems_farther",
            "test_an_empty_fridge_is_passed_by_for_a_full_one",
        ),
    ),
    Rule(
        _USE,
        "one tile a tick along the longer way; in reach is an object one stands on or next to",
        (
            "test_one_tile_a_tick_along_the_longer_way",
            "test_a_diagonal_tile_is_out_of_reach",
        ),
    ),
    Rule(
        _USE,
        "each tick of a use gives 1 / ticks of its effects and takes 1 / ticks of its price x "
        "the price factor; stopping early keeps what accrued",
        (
            "test_stopping_early_keeps_what_accrued_and_nothing_more",
            "test_a_meal_takes_15_ticks_and_pays_for_itself_as_it_goes",
            "test_prices_follow_the_spike",
        ),
    ),
    Rule(
        _USE,
        "who has less than the whole price is refused; a wallet is never below 0",
        (
            "test_who_cannot_pay_is_refused",
            "test_a_spike_raises_what_one_must_have_as_well",
            "test_a_spike_during_a_meal_leaves_no_debt",
        ),
    ),
    Rule(
        _USE,
        "a fridge starts with {food.start} meals, holds {food.capacity} and gets "
        "{food.restock_per_day} a day, evenly; eating takes one at its start",
        (
            "test_two_meals_a_day_are_delivered",
            "test_a_fridge_holds_no_more_than_its_capacity",
            "test_a_meal_takes_15_ticks_and_pays_for_itself_as_it_goes",
        ),
    ),
    Rule(
        _USE,
        "cooking puts its meals into the fridge nearest to the cook when it is completed; the cook "
        "eats a portion of its own meanwhile, hunger +{affordances.cook_meal.hunger}",
        (
            "test_cooking_puts_three_meals_into_the_nearest_fridge",
            "test_cooking_stopped_early_yields_no_meals",
        ),
    ),
    Rule(
        _USE,
        "after a use, complete or not, and after leaving a queue, an object is closed to the "
        "agent for {queues.cooldown} ticks",
        (
            "test_an_object_is_closed_to_its_last_user_for_60_ticks",
            "test_an_object_let_go_early_and_a_queue_left_are_closed_for_60_ticks",
        ),
    ),
    Rule(
        _QUEUE,
        "asking for an occupied object queues one, up to {queues.limit} in a queue",
        (
            "test_a_full_queue_refuses",
            "test_asking_for_an_occupied_object_queues_in_the_order_of_asking",
        ),
    ),
    Rule(
        _QUEUE,
        "next is argmin(place - {queues.wait_weight} x ticks waited), ties to the one in front",
        (
            "test_long_waiting_outweighs_the_place",
            "test_the_first_in_line_takes_over_at_once",
        ),
    ),
    Rule(
        _QUEUE,
        "but first whoever the last user favours most: trust + familiarity - rivalry - "
        "{queues.goodwill_index_weight} x place, if above 0",
        (
            "test_a_friend_of_the_last_user_goes_first",
            "test_too_little_goodwill_changes_nothing",
        ),
    ),
    Rule(
        _QUEUE,
        "who is handed an object starts to use it at once; who cannot (money, food, power, "
        "water) occupies it idle",
        (
            "test_who_is_handed_what_it_cannot_use_occupies_it_idle",
            "test_the_first_in_line_takes_over_at_once",
            "test_who_is_handed_what_lacks_food_power_or_water_occupies_it_idle",
        ),
    ),
    Rule(
        _QUEUE,
        "an idle occupant is moved on after {queues.idle_ticks} ticks; one who uses never is",
        (
            "test_who_occupies_and_does_nothing_is_moved_on_after_three_ticks",
            "test_a_user_at_work_is_never_moved_on",
        ),
    ),
    Rule(
        _QUEUE,
        "a waiter who has waited more than {queues.patience} ticks quarrels with the user, at "
        "most once per {queues.conflict_interval} ticks with the same one",
        ("test_patience_ends_after_20_ticks_and_again_every_10",),
    ),
    Rule(
        _QUEUE,
        "intensity = clamp({queues.conflict_base} + {queues.conflict_per_waiter} x (waiters - "
        "1), {queues.conflict_min}, {queues.conflict_max})",
        (
            "test_intensity_is_clamped",
            "test_intensity_grows_with_the_queue_and_the_causer_pays_from_c2_on",
        ),
    ),
    Rule(
        _QUEUE,
        "leaving a queue in which a rival waits, or whose object a rival uses, counts as "
        "rivalry_avoided; a rival is somebody with rivalry >= {relationships.rival_at}",
        (
            "test_leaving_a_queue_for_a_rivals_sake_counts_and_pays_from_c2_on",
            "test_a_rival_who_waits_behind_is_left_as_well",
        ),
    ),
    Rule(
        _PAIR,
        "trust and familiarity in [-1, 1], rivalry in [0, 1], of each towards each other; "
        "rivalry loses {relationships.rivalry_decay} a tick",
        (
            "test_rivalry_fades_and_other_feelings_stay",
            "test_everything_stays_in_its_range",
        ),
    ),
    Rule(
        _PAIR,
        "all start at 0, but rivalry within the pairs 0 and 1, 2 and 3, ... at "
        "{relationships.start_rivalry}",
        ("test_seeded_rivals_hate_each_other_alone_and_forget",),
    ),
    Rule(
        _PAIR,
        "conflict: rivalry of both + {relationships.rivalry_per_intensity} x intensity x (1 - "
        "forgiveness)",
        (
            "test_forgiveness_softens_rivalry",
            "test_patience_ends_after_20_ticks_and_again_every_10",
        ),
    ),
    Rule(
        _PAIR,
        "shared meal, once a meal, with the first who eats within {relationships.meal_distance} "
        "tiles: trust + {relationships.meal_trust}, familiarity + "
        "{relationships.meal_familiarity}",
        (
            "test_a_shared_meal_counts_once_a_meal_and_pays_from_c3_on",
            "test_meals_three_tiles_apart_are_not_shared",
        ),
    ),
    Rule(
        _PAIR,
        "late help, of both: trust + {relationships.help_trust}, familiarity + "
        "{relationships.help_familiarity}, rivalry + {relationships.help_rivalry}",
        ("test_a_punctual_colleague_helps_who_comes_late",),
    ),
    Rule(
        _PAIR,
        "shift takeover, of both: trust + {relationships.takeover_trust}, rivalry + "
        "{relationships.takeover_rivalry}",
        ("test_a_missed_shift_is_taken_over_by_a_colleague_at_work",),
    ),
    Rule(
        _PAIR,
        "avoid: one tile away from the nearest rival, along the shorter way first and not out of "
        "town; without a rival nothing",
        ("test_avoid_steps_away_from_the_nearest_rival", "test_avoid_never_leaves_the_town"),
    ),
    Rule(
        _PAIR,
        "tempers are taken in turn within each shift, so that none is tied to one job",
        ("test_tempers_go_in_turn_within_each_shift",),
    ),
    Rule(
        _CHAT,
        "chat: a step towards the nearest who uses nothing and may chat, and a chat once "
        "adjacent; then both rest "
        "{chat.cooldown} ticks",
        (
            "test_both_rest_for_30_ticks_after_a_chat",
            "test_chat_approaches_whoever_is_free_and_not_who_sleeps",
        ),
    ),
    Rule(
        _CHAT,
        "quality q = clamp({chat.base} + {chat.extroversion} extroversion + {chat.trust} trust + "
        "{chat.familiarity} familiarity + {chat.rivalry} rivalry, {chat.quality_min}, "
        "{chat.quality_max}), all of the speaker",
        (
            "test_quality_follows_the_speakers_feelings_and_the_meet",
            "test_quality_is_the_probability_of_success",
            "test_a_failed_chat_costs_and_makes_rivals",
        ),
    ),
    Rule(
        _CHAT,
        "succeeds with probability q: trust of both + {relationships.chat_trust} q, familiarity "
        "+ {relationships.chat_familiarity} q",
        (
            "test_a_good_chat_builds_trust_and_familiarity_and_pays_both_from_c1_on",
            "test_quality_is_the_probability_of_success",
        ),
    ),
    Rule(
        _CHAT,
        "else familiarity of both + {relationships.chat_failure_familiarity}, rivalry + "
        "{relationships.chat_failure_rivalry}",
        ("test_a_failed_chat_costs_and_makes_rivals",),
    ),
    Rule(
        _WORK,
        "work: a step towards the site, along the longer way, until on it or next to it",
        ("test_work_walks_to_its_site_and_works_from_beside_it",),
    ),
    Rule(
        _WORK,
        "shifts repeat each day of 1440 ticks; the wage is paid for each tick of the shift at "
        "the site (on it or next to it) with the intent work",
        (
            "test_wages_are_paid_for_ticks_at_work_within_the_shift",
            "test_shifts_come_back_every_day",
            "test_work_walks_to_its_site_and_works_from_beside_it",
        ),
    ),
    Rule(
        _WORK,
        "on time within {jobs.grace} ticks after the start",
        ("test_who_comes_within_grace_is_on_time",),
    ),
    Rule(
        _WORK,
        "each tick after that costs {jobs.late_fine} until one comes",
        ("test_each_late_tick_costs_and_punctuality_falls_with_them",),
    ),
    Rule(
        _WORK,
        "later than {jobs.absent_after} ticks is absent: {jobs.absence_fine}, and no wage",
        (
            "test_after_30_ticks_the_shift_is_missed_and_cannot_be_made_up",
            "test_the_last_tick_to_come_late_is_the_30th",
        ),
    ),
    Rule(
        _WORK,
        "{jobs.evict_absences} absences within {jobs.evict_days} days: eviction; the lane "
        "terminates, its agent goes on from home as after a faint, with a clean record",
        (
            "test_the_third_absence_within_seven_days_evicts",
            "test_who_faints_keeps_absences_and_who_is_evicted_does_not",
            "test_an_eviction_takes_an_episode_of_more_than_two_days",
        ),
    ),
    Rule(
        _WORK,
        "fines count in full in the reward and take from the wallet what is there",
        ("test_fines_take_no_more_than_there_is",),
    ),
    Rule(
        _WORK,
        "late help: a late arrival whom the colleague on time and at work on the same shift who "
        "likes it best covers for; an event of the helper",
        (
            "test_a_punctual_colleague_helps_who_comes_late",
            "test_of_several_colleagues_the_one_who_likes_it_best_helps",
        ),
    ),
    Rule(
        _WORK,
        "shift takeover: an absence that a colleague at work, late or not, makes good; an event "
        "of the absent",
        (
            "test_a_missed_shift_is_taken_over_by_a_colleague_at_work",
            "test_a_colleague_who_came_late_takes_over_as_well",
        ),
    ),
    Rule(
        _TOWN,
        "each begins in a tick with probability (times a day) / 1440 while it is not under way "
        "and lasts a uniform number of ticks",
        (
            "test_perturbations_come_as_often_as_they_may",
            "test_perturbations_last_as_long_as_they_may",
        ),
    ),
    Rule(
        _TOWN,
        "price spike: prices x uniform in [{perturbations.price_spike.min_factor}, "
        "{perturbations.price_spike.max_factor}]",
        (
            "test_prices_follow_the_spike",
            "test_perturbations_last_as_long_as_they_may",
            "test_a_price_spike_ends",
        ),
    ),
    Rule(
        _TOWN,
        "blackout: stoves and showers off; outage: showers off; uses under way end",
        (
            "test_without_power_or_water_no_shower_starts_or_goes_on",
            "test_an_outage_leaves_the_stoves_on",
            "test_a_blackout_ends_cooking_and_spares_the_fridge",
        ),
    ),
    Rule(
        _TOWN,
        "arranged meet: within {perturbations.arranged_meet.radius} tiles of a random one, both "
        "partners there: q + {perturbations.arranged_meet.quality_bonus}",
        ("test_a_meet_helps_those_who_are_both_there",),
    ),
    Rule(
        _REWARD,
        "survival = {reward.base} - {reward.needs_scale} x ({reward.hunger_weight} (1 - hunger)^2"
        " + {reward.hygiene_weight} (1 - hygiene)^2 + {reward.energy_weight} (1 - energy)^2)",
        ("test_survival_weighs_squared_deficits",),
    ),
    Rule(
        _REWARD,
        "wage = what the tick's work earned less fines",
        (
            "test_wages_are_paid_for_ticks_at_work_within_the_shift",
            "test_each_late_tick_costs_and_punctuality_falls_with_them",
        ),
    ),
    Rule(
        _REWARD,
        "punctuality = {reward.punctuality} in a shift's last tick if it was begun on time; x (1 "
        "- lateness / {jobs.absent_after}) if late; 0 if missed",
        (
            "test_the_punctual_get_the_whole_bonus_at_the_end",
            "test_each_late_tick_costs_and_punctuality_falls_with_them",
            "test_the_last_tick_to_come_late_is_the_30th",
        ),
    ),
    Rule(
        _REWARD,
        "clipping brings the sum of these and the social terms within +-{reward.clip}, and an "
        "agent's sum over an episode (a faint does not restart it) within "
        "+-{reward.clip_per_episode}",
        (
            "test_an_episodes_sum_may_be_bounded",
            "test_the_sum_is_clipped_and_faints_are_not",
        ),
    ),
    Rule(
        _REWARD,
        "faint -{reward.faint} and eviction -{reward.eviction}, unclipped",
        (
            "test_the_sum_is_clipped_and_faints_are_not",
            "test_the_third_absence_within_seven_days_evicts",
        ),
    ),
    Rule(
        _REWARD,
        "every term is a multiple of 2^-20, so that they add up to the reward exactly",
        ("test_terms_sum_to_the_reward_exactly_in_any_order",),
    ),
    Rule(
        _SOCIAL,
        "C1, good chat, each partner: {social.chat_scale} q ({social.chat_base} + "
        "{social.chat_trust} trust + {social.chat_familiarity} familiarity), of before the chat; "
        "0 with a need below {social.chat_need_floor}",
        (
            "test_a_good_chat_builds_trust_and_familiarity_and_pays_both_from_c1_on",
            "test_whoever_is_in_need_gets_nothing_from_a_chat",
        ),
    ),
    Rule(
        _SOCIAL,
        "C1, failed chat: speaker -{social.chat_failure_speaker}, listener "
        "-{social.chat_failure_listener}",
        ("test_a_failed_chat_costs_and_makes_rivals",),
    ),
    Rule(
        _SOCIAL,
        "C2: + {social.conflict_avoided} for each rivalry_avoided; - {social.conflict_caused} x "
        "intensity to who quarrels",
        (
            "test_intensity_grows_with_the_queue_and_the_causer_pays_from_c2_on",
            "test_leaving_a_queue_for_a_rivals_sake_counts_and_pays_from_c2_on",
        ),
    ),
    Rule(
        _SOCIAL,
        "C3, shared meal: + {social.shared_meal} to each party, once a meal",
        ("test_a_shared_meal_counts_once_a_meal_and_pays_from_c3_on",),
    ),
    Rule(
        _SOCIAL,
        "C3: + {social.late_help} for late help given; - {social.takeover} for a shift taken over",
        (
            "test_a_punctual_colleague_helps_who_comes_late",
            "test_a_missed_shift_is_taken_over_by_a_colleague_at_work",
        ),
    ),
)
