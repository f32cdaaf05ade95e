"""What things are called: actions, events, reward terms, features, and their positions.

Nothing here imports numba, so that a lane's specification costs nothing.
"""

ACTION_NAMES = ("wait", "eat", "cook", "shower", "sleep", "work", "chat", "avoid", "release")
WAIT, EAT, COOK, SHOWER, SLEEP, WORK, CHAT, AVOID, RELEASE = range(9)
"""Intents, fixed for ever: recorded demonstrations depend on these ids.

EAT to SLEEP are also the numbers of the affordances and of the kinds of object: 1 fridge,
2 stove, 3 shower, 4 bed; 0 means none.
"""

OBJECT_KINDS = ("fridge", "stove", "shower", "bed")
KINDS = 5
"""Kinds of object, none included."""

EVENT_NAMES = (
    "queue_conflict",
    "queue_conflict_intensity",
    "rivalry_avoided",
    "chat_success",
    "chat_failure",
    "chat_quality",
    "shared_meal",
    "late_help",
    "shift_takeover",
    "meal",
    "cooked",
    "shower",
    "sleep",
    "shift_on_time",
    "shift_late",
    "shift_absent",
    "shift_tick",
    "faint",
    "eviction",
)
(
    EVENT_CONFLICT,
    EVENT_INTENSITY,
    EVENT_AVOIDED,
    EVENT_CHAT_SUCCESS,
    EVENT_CHAT_FAILURE,
    EVENT_CHAT_QUALITY,
    EVENT_SHARED_MEAL,
    EVENT_LATE_HELP,
    EVENT_TAKEOVER,
    EVENT_MEAL,
    EVENT_COOKED,
    EVENT_SHOWER,
    EVENT_SLEEP,
    EVENT_ON_TIME,
    EVENT_LATE,
    EVENT_ABSENT,
    EVENT_SHIFT_TICK,
    EVENT_FAINT,
    EVENT_EVICTION,
) = range(len(EVENT_NAMES))

TERM_NAMES = (
    "survival",
    "wage",
    "punctuality",
    "chat",
    "conflict",
    "meal",
    "help",
    "clipping",
    "faint",
    "eviction",
)
(
    TERM_SURVIVAL,
    TERM_WAGE,
    TERM_PUNCTUALITY,
    TERM_CHAT,
    TERM_CONFLICT,
    TERM_MEAL,
    TERM_HELP,
    TERM_CLIPPING,
    TERM_FAINT,
    TERM_EVICTION,
) = range(len(TERM_NAMES))

SOCIAL_STAGES = ("OFF", "C1", "C2", "C3")
"""The position is the stage's rank: a term of C2 counts from rank 2 on."""

SHIFT_STATES = ("none", "expected", "on_time", "late", "absent")
SHIFT_NONE, SHIFT_EXPECTED, SHIFT_ON_TIME, SHIFT_LATE, SHIFT_ABSENT = range(5)

MAP_CHANNELS = ("self", "agents", "objects", "reserved")
MAP_SIZE = 11
"""Side of the egocentric map; the agent stands in its middle."""

NEIGHBOURS = 4
"""Slots for the nearest other agents; ``observation.see_neighbours`` fills as many."""

_OBJECT_FEATURES = ("dx", "dy", "adjacent", "occupied", "queue", "cooldown")
_NEIGHBOUR_FEATURES = ("present", "dx", "dy", "trust", "familiarity", "rivalry")
OBJECT_WIDTH = len(_OBJECT_FEATURES)
NEIGHBOUR_WIDTH = len(_NEIGHBOUR_FEATURES)

_COMMON_FEATURES = (
    "need_hunger",
    "need_hygiene",
    "need_energy",
    "wallet",
    "time_sin",
    "time_cos",
    "episode_progress",
    *(f"shift_{state}" for state in SHIFT_STATES),
    "on_shift",
    "shift_in",
    "shift_left",
    "lateness",
    "attendance_ratio",
    "has_job",
    "job_dx",
    "job_dy",
    "job_adjacent",
    *(f"using_{kind}" for kind in OBJECT_KINDS),
    "use_left",
    *(f"queueing_{kind}" for kind in OBJECT_KINDS),
    "queue_place",
    "queue_waited",
    "queue_rival",
    *(f"{kind}_{what}" for kind in OBJECT_KINDS for what in _OBJECT_FEATURES),
    "fridge_stock",
    *(f"last_action_{action}" for action in ACTION_NAMES),
    "last_action_success",
    *(f"neighbour{slot}_{what}" for slot in range(NEIGHBOURS) for what in _NEIGHBOUR_FEATURES),
    "trust_mean",
    "familiarity_mean",
    "rivalry_mean",
    "rivalry_max",
    "rival_near",
    "rivalry_avoid_count",
    "chat_cooldown",
    "chat_partner_adjacent",
    "price",
    "power",
    "water",
    "meet",
    "meet_dx",
    "meet_dy",
)
_PERSONALITY_FEATURES = ("extroversion", "forgiveness", "ambition")


def feature_names(*, personality: bool) -> tuple[str, ...]:
    """Returns the names of the features in their order; personality, if seen, comes last."""
    return _COMMON_FEATURES + (_PERSONALITY_FEATURES if personality else ())


def position(feature: str) -> int:
    """Returns the position of a feature that every variant has."""
    return _COMMON_FEATURES.index(feature)


COMMON_FEATURES = len(_COMMON_FEATURES)
"""Number of features before the personality."""
