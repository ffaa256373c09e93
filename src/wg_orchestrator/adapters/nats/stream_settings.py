"""How the streams are set up, and what is required of one that is there already."""

from dataclasses import dataclass
from typing import Any, Literal

_AS_MADE = ("subjects", "retention", "discard", "max_msgs_per_subject", "allow_msg_ttl", "allow_atomic")
_NOTHING_LOST: dict[str, Any] = {
    "max_msgs": -1,
    "max_bytes": -1,
    "max_age": 0,
    "max_msg_size": -1,
    "max_consumers": -1,
    "discard_new_per_subject": False,
    "sealed": False,
    "no_ack": False,
    "allow_rollup_hdrs": False,
    "allow_msg_counter": False,
    "allow_msg_schedules": False,
    "subject_delete_marker_ttl": 0,
    "subject_transform": None,
    "mirror": None,
    "sources": None,
    "consumer_limits": {},
    "persist_mode": "default",
}
"""What a stream must not do: forget, refuse or change messages, add some, or confirm what it has not stored."""


@dataclass(frozen=True, slots=True)
class StreamOptions:
    name: str
    network: str
    replicas: int = 1
    storage: Literal["memory", "file"] = "memory"
    followed: tuple[str, ...] = ("peer", "node", "sync")
    """The kinds of subjects that a feed brings."""
    has_to_last: bool = False
    """Whether a stream that is there already has to be in file storage."""
    may_be_made: bool = True


def needed_settings(options: StreamOptions) -> list[tuple[str, Any, Any]]:
    """Each setting that has to be as it is made here, with its value and what is meant if the server says none."""
    made = stream_config(options)
    as_made = (*_AS_MADE, "storage") if options.has_to_last else _AS_MADE
    needed = [(setting, made[setting], None) for setting in as_made]
    return needed + [(setting, value, value) for setting, value in _NOTHING_LOST.items()]


def stream_config(options: StreamOptions) -> dict[str, Any]:
    return {
        "name": options.name,
        # Not `<stream>.>`: a node that knows of no epochs is not to take this stream for one of its own.
        "subjects": [f"{options.name}.epoch", f"{options.name}.*.>"],
        "storage": options.storage,
        "num_replicas": options.replicas,
        "retention": "limits",
        "discard": "old",
        "max_msgs_per_subject": 1,
        "allow_msg_ttl": True,
        "allow_atomic": True,
        "metadata": {"network": options.network},
    }
