"""A film and its sound, brought to one length by a policy that is said."""

from __future__ import annotations

from aigc_sdk.artifacts import Audio, Video
from aigc_sdk.errors import InputError
from aigc_sdk_process.compose.record import recorded

from . import audio, video
from ._checks import made, one_of, whole

LEADERS = ("film", "sound")


@recorded
def with_sound(
    film: Video,
    sound: Audio,
    *,
    policy: str = "refuse",
    leads: str = "film",
    channels: int | None = None,
    sample_rate: int | None = None,
) -> Video:
    """The film with that sound, in place of one it may have had, both of one length.

    leads: which of the two keeps its length, "film" or "sound"; the other one follows by `policy`. policy: "pad" adds
    silence or holds the last frame, "trim" cuts the end off, "loop" repeats it, "stretch" changes the speed, "refuse"
    takes no other length. Whatever the policy, a difference of less than a frame is padded or cut at the sound's end.
    channels: 1 or 2; None keeps those of the sound, and more than 2 are refused. sample_rate: None keeps the sound's.
    The result's `info` is that of the sound over the film's. Raises InputError where a policy does not apply.
    """
    made(film, Video, "film")
    made(sound, Audio, "sound")
    one_of(policy, "policy", audio.POLICIES)
    one_of(leads, "leads", LEADERS)
    if channels is not None:
        sound = audio.channels(sound, channels)
    elif len(sound.samples) > 2:
        message = f"the sound has {len(sound.samples)} channels, and films hold 1 or 2; pass channels=1"
        raise InputError(message, field="channels")
    if sample_rate is not None:
        sound = audio.resample(sound, whole(sample_rate, "sample_rate", 8000, 96_000, "samples per second"))
    frame = sound.sample_rate / film.fps
    if leads == "sound":
        film = _following(film, sound.duration, policy)
    length = round(film.duration * sound.sample_rate)
    heard = audio.fitted(sound, length, policy, slack=int(frame))
    info = {**film.info, **heard.info}
    track = Audio(heard.samples, sample_rate=heard.sample_rate)
    return Video(film.frames, fps=film.fps, sound=track, sample=film.sample, info=info)


def _following(film: Video, seconds: float, policy: str) -> Video:
    """The frames in the sound's length, to the nearest frame; a sound of their own is left out."""
    silent = Video(film.frames, fps=film.fps, sample=film.sample, info=film.info)
    count = max(1, round(seconds * film.fps))
    if policy == "refuse" and abs(film.duration - seconds) * film.fps < 1:
        return silent
    return video.fitted(silent, count, policy)
