"""Says where the boxes of a picture stand.

The features keep their order. Every other lane is ordered by what its boxes feed and placed as
near to it as the boxes' heights allow. An arrow that skips a lane crosses it on a track of its
own, so that it never runs into a box that it has nothing to do with.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

from featurekit.picture.flow import Box, Flow

__all__ = ["MANY", "Place", "bands", "lay_out"]

MANY = 40
"""So many features stand in a band; with more boxes in a lane, a box is one line high."""

_TRACK = 5.0


@dataclass(eq=False)
class Place:
    """A box, or the track of an arrow (no box), with its place."""

    box: Box
    track: bool
    height: float
    y: float = 0.0
    """The middle."""
    after: list[Place] = field(default_factory=list)
    """What it leads to in the next lane."""


def bands(flow: Flow) -> Iterator[Flow]:
    """Divide many features into bands, each with what feeds it, so that arrows stay short."""
    features = flow.lanes[-1]
    number = max(1, math.ceil(len(features) / MANY))
    feeds: dict[Box, list[Box]] = {}
    for source, target in flow.arrows:
        feeds.setdefault(target, []).append(source)
    for part in range(number):
        chosen = features[part * len(features) // number : (part + 1) * len(features) // number]
        kept = set(chosen)  # asked only, never gone through: its order differs from run to run
        stack = list(chosen)
        while stack:
            for source in feeds.get(stack.pop(), ()):
                if source not in kept:
                    kept.add(source)
                    stack.append(source)
        lanes = tuple(tuple(box for box in lane if box in kept) for lane in flow.lanes)
        yield Flow(lanes, tuple(arrow for arrow in flow.arrows if arrow[1] in kept))


def lay_out(flow: Flow, compact: bool, top: float) -> list[list[Place]]:
    """Place the boxes and tracks of every lane, the last lane first.

    Args:
        flow: The boxes and arrows.
        compact: Whether every box is one line high.
        top: Where the highest box begins.

    Returns:
        The places of each lane, from the top to the bottom.
    """
    tall = [26.0, *[26.0 if compact else 44.0] * (len(flow.lanes) - 2), 26.0 if compact else 52.0]
    lanes = [
        [Place(box, False, height) for box in lane]
        for lane, height in zip(flow.lanes, tall, strict=True)
    ]
    at = {place.box: (number, place) for number, lane in enumerate(lanes) for place in lane}
    tracks: dict[tuple[Box, int], Place] = {}
    for source, target in flow.arrows:
        start, place = at[source]
        end, goal = at[target]
        for number in range(start + 1, end):
            track = tracks.get((source, number))
            if track is None:
                track = tracks[source, number] = Place(source, True, _TRACK)
                lanes[number].append(track)
                place.after.append(track)
            place = track
        place.after.append(goal)
    gap = 6.0 if compact else 14.0
    least = [sum(place.height + gap for place in lane) for lane in lanes]
    spread = gap + max(0.0, (max(least) - least[-1]) / max(1, len(lanes[-1])))
    _stack(lanes[-1], spread)
    for lane in reversed(lanes[:-1]):
        for place in lane:
            place.y = sum(goal.y for goal in place.after) / max(1, len(place.after))
        lane.sort(key=lambda place: place.y)
        _separate(lane, gap)
    highest = min(place.y - place.height / 2 for lane in lanes for place in lane)
    for lane in lanes:
        for place in lane:
            place.y += top - highest
    return lanes


def _stack(lane: list[Place], gap: float) -> None:
    y = 0.0
    for place in lane:
        place.y = y + place.height / 2
        y += place.height + gap


def _separate(lane: list[Place], gap: float) -> None:
    """Move places apart as little as possible, in squares, keeping their order.

    With the heights above each place subtracted this is isotonic regression, which pooling
    adjacent violators solves (Ayer et al. 1955).
    """
    offset = 0.0
    offsets: list[float] = []
    blocks: list[tuple[float, int]] = []
    for number, place in enumerate(lane):
        if number:
            before = lane[number - 1]
            offset += (before.height + place.height) / 2 + min(gap, before.height, place.height)
        offsets.append(offset)
        blocks.append((place.y - offset, 1))
        while len(blocks) > 1 and blocks[-2][0] > blocks[-1][0]:
            mean, count = blocks.pop()
            above, more = blocks[-1]
            blocks[-1] = ((mean * count + above * more) / (count + more), count + more)
    starts = [mean for mean, count in blocks for _ in range(count)]
    for place, start, below in zip(lane, starts, offsets, strict=True):
        place.y = start + below
