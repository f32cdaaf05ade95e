"""From a Gymnasium observation space to features, a map and a mask, by name.

Legend: L lanes, F features, N outputs of the policy, C x H x W map, n rows written at once.

``Box`` of numbers, ``Discrete``, ``MultiDiscrete`` and ``MultiBinary``, and ``Dict`` and ``Tuple``
of those, are flattened into features in the order in which Gymnasium goes through them (a
``Dict`` sorts its keys). One ``Box`` of bytes with the shape of a picture becomes the map. Bytes
under the key ``action_mask``, one an output, become the mask, and so does
``info["action_mask"]``. Anything else is refused by name and place.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from journeyman.env.action_spaces import ActionLayout, SpaceViolationError, read_actions
from journeyman.env.protocol import LaneSpec
from journeyman.env.space_leaves import (
    FLAT,
    Part,
    Picture,
    at_path,
    changed_shape,
    features_of,
    flat_mask,
    kind_of,
    leaves_of,
    picture_of,
    place_of,
    put_part,
)
from journeyman.errors import UserError

MASK = "action_mask"

Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True, kw_only=True)
class ObservationLayout:
    """Where each piece of an observation goes.

    Attributes:
        feature_names: F names: ``obs_0`` of a box, ``state=3`` of a discrete space,
            ``key.0`` and ``key=3`` inside a ``Dict``, ``part_0.1`` inside a ``Tuple``.
        map_shape: (C, H, W), or None.
        map_scale: brings the map's numbers into [0, 1].
        mask_from: where the action mask comes from, if there is one.
        mask_size: N, where there is one.
        parts: the leaves that become features.
        picture: the leaf that becomes the map, or None.
        plain_shape: shape of the observation where it is one row of numbers, which is written
            without a detour; else None.
    """

    feature_names: tuple[str, ...]
    map_shape: tuple[int, int, int] | None
    map_scale: float
    mask_from: Literal["observation", "info"] | None
    mask_size: int
    parts: tuple[Part, ...]
    picture: Picture | None
    plain_shape: tuple[int] | None

    @property
    def map_channels(self) -> tuple[str, ...]:
        """Names of the map's channels."""
        return tuple(f"channel_{c}" for c in range(self.map_shape[0])) if self.map_shape else ()

    def buffers(self, lanes: int) -> Arrays:
        """Returns the arrays of an observation of so many lanes, all zero, masks all open."""
        arrays: Arrays = {"features": np.zeros((lanes, len(self.feature_names)), np.float32)}
        if self.map_shape is not None:
            arrays["map"] = np.zeros((lanes, *self.map_shape), np.uint8)
        if self.mask_from is not None:
            arrays[MASK] = np.ones((lanes, self.mask_size), np.bool_)
        return arrays

    def write(self, out: Arrays, lane: int, obs: Any, info: Mapping[str, Any]) -> None:
        """Writes one environment's observation into a row.

        Args:
            out: as ``buffers`` returns them.
            lane: the row.
            obs: an observation of the space.
            info: what came with it; only the mask is read.

        Raises:
            SpaceViolationError: if the observation is not one of the space.
        """
        plain = self.plain_shape is not None and type(obs) is np.ndarray
        if plain and obs.shape == self.plain_shape and obs.dtype.kind in "fiub":
            out["features"][lane] = obs
            return
        row = slice(lane, lane + 1)
        features = out["features"][row]
        for part in self.parts:
            value = np.asarray(at_path(obs, part.path))
            if value.shape != part.shape:
                raise changed_shape(part.path, value.shape, part.shape)
            put_part(part, value[np.newaxis], features)
        if self.picture is not None:
            self._put_picture(
                np.asarray(at_path(obs, self.picture.path))[np.newaxis], out["map"][row]
            )
        if self.mask_from is not None:
            self._put_mask(obs if self.mask_from == "observation" else info, out[MASK][lane])

    def write_batch(self, out: Arrays, obs: Any) -> None:
        """Writes the observations of all lanes, as a Gymnasium vector environment hands them over.

        Args:
            out: as ``buffers`` returns them.
            obs: an observation of the batched space.

        Raises:
            SpaceViolationError: if the observation is not one of the space, or if the mask is
                in the info, where a vector environment's is not looked for.
        """
        lanes = len(out["features"])
        for part in self.parts:
            value = np.asarray(at_path(obs, part.path))
            if value.shape != (lanes, *part.shape):
                raise changed_shape(part.path, value.shape[1:], part.shape)
            put_part(part, value, out["features"])
        if self.picture is not None:
            self._put_picture(np.asarray(at_path(obs, self.picture.path)), out["map"])
        if self.mask_from == "info":
            raise SpaceViolationError("the action mask is in the info of each environment")
        if self.mask_from == "observation":
            out[MASK][:] = np.asarray(obs[MASK]).reshape(lanes, -1)

    def _put_picture(self, value_n: NDArray[Any], out_nCHW: NDArray[np.uint8]) -> None:
        picture = self.picture
        assert picture is not None
        if value_n.shape[1:] != picture.shape:
            raise changed_shape(picture.path, value_n.shape[1:], picture.shape)
        if value_n.dtype != np.uint8:
            raise SpaceViolationError(
                f"{place_of(picture.path)} is a picture of {value_n.dtype}, its space says uint8"
            )
        axes = (0, *(axis + 1 for axis in picture.axes))
        out_nCHW[:] = value_n.transpose(axes).reshape(out_nCHW.shape)

    def _put_mask(self, source: Any, out_N: NDArray[np.bool_]) -> None:
        try:
            mask = source[MASK]
        except (KeyError, TypeError, IndexError) as error:
            raise SpaceViolationError(f"there is no {MASK} in the {self.mask_from}") from error
        flat = flat_mask(mask)
        if flat.shape != out_N.shape:
            raise SpaceViolationError(f"{MASK} has {flat.size} entries, expected {out_N.size}")
        out_N[:] = flat


def first_not_finite(features_LF: NDArray[np.float32]) -> tuple[int, int] | None:
    """Returns (lane, column) of the first NaN or infinity, or None."""
    if np.isfinite(features_LF).all():
        return None
    broken = np.argwhere(~np.isfinite(features_LF))
    return int(broken[0, 0]), int(broken[0, 1])


def read_spaces(
    env_id: str,
    observation_space: spaces.Space[Any],
    action_space: spaces.Space[Any],
    *,
    info: Mapping[str, Any],
) -> tuple[ObservationLayout, ActionLayout]:
    """Lays out an environment's spaces.

    Args:
        env_id: for the messages.
        observation_space: of one environment.
        action_space: of one environment.
        info: what its ``reset`` returned; a mask is looked for in it.

    Raises:
        UserError: with every part of the spaces that cannot be used.
    """
    problems: list[str] = []
    actions = read_actions(action_space, problems)
    layout = _observations(observation_space, actions, info, problems)
    if problems or actions is None:
        raise UserError([f"{env_id}: {problem}" for problem in problems])
    return layout, actions


def spec_from(env_id: str, layout: ObservationLayout, actions: ActionLayout) -> LaneSpec:
    """Returns what a lane of these spaces sees and can do."""
    return LaneSpec(
        env_id=env_id,
        feature_names=layout.feature_names,
        map_channels=layout.map_channels,
        map_shape=layout.map_shape,
        map_scale=layout.map_scale,
        has_action_mask=layout.mask_from is not None,
        action_names=actions.names,
        action_kind=actions.kind,
        action_sizes=actions.sizes,
        action_low=actions.low,
        action_high=actions.high,
    )


def _observations(
    space: spaces.Space[Any],
    actions: ActionLayout | None,
    info: Mapping[str, Any],
    problems: list[str],
) -> ObservationLayout:
    mask_from = _mask_source(space, actions, info, problems)
    names: list[str] = []
    parts: list[Part] = []
    pictures: list[Picture] = []
    for path, leaf in leaves_of(space):
        if path == (MASK,):
            continue
        if (picture := picture_of(path, leaf)) is not None:
            pictures.append(picture)
        elif (found := features_of(path, leaf)) is not None:
            columns = slice(len(names), len(names) + len(found[0]))
            names += found[0]
            parts.append(Part(path, tuple(leaf.shape or ()), columns, found[1]))
        else:
            problems.append(
                f"observation space: {place_of(path)} is {kind_of(leaf)}, which cannot be "
                "flattened; allowed: Box of numbers, Discrete, MultiDiscrete, MultiBinary, "
                "Dict and Tuple of those"
            )
    if len(pictures) > 1:
        places = ", ".join(place_of(picture.path) for picture in pictures)
        problems.append(f"observation space: only one picture can be read, it has {places}")
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        problems.append(f"observation space: two features would be called {twice[0]!r}")
    one = pictures[0] if pictures else None
    plain = isinstance(space, spaces.Box) and space.shape == (len(names),) and mask_from is None
    return ObservationLayout(
        feature_names=tuple(names),
        map_shape=one.map_shape if one else None,
        map_scale=1.0 / one.highest if one else 1.0,
        mask_from=mask_from,
        mask_size=len(actions.names) if actions is not None else 0,
        parts=tuple(parts),
        picture=one,
        plain_shape=(len(names),) if plain else None,
    )


def _mask_source(
    space: spaces.Space[Any],
    actions: ActionLayout | None,
    info: Mapping[str, Any],
    problems: list[str],
) -> Literal["observation", "info"] | None:
    """Says where the mask comes from, or adds to ``problems`` why it cannot be one."""
    source: Literal["observation", "info"]
    if isinstance(space, spaces.Dict) and MASK in space.spaces:
        source, leaf = "observation", space[MASK]
        size = spaces.flatdim(leaf) if isinstance(leaf, FLAT) else None
    elif MASK in info:
        source, size = "info", flat_mask(info[MASK]).size
    else:
        return None
    if actions is None:
        return source  # what is wrong with the actions is said already
    if actions.kind == "box":
        problems.append(f"{MASK} ({source}): continuous actions cannot be masked")
    elif size is None:
        problems.append(f"{MASK} ({source}): must be MultiBinary or Box, is {kind_of(leaf)}")
    elif size != len(actions.names):
        outputs = len(actions.names)
        problems.append(f"{MASK} ({source}): has {size} entries, the actions {outputs} choices")
    return source
