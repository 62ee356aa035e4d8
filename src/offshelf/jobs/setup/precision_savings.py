"""Whether a faster precision pays: seconds of the work that is left, both ways.

The network's rates are measured and kept for each machine; where int8 was never measured, what
it can be at least and at most decides, or says that a measurement is worth its time.
"""

from __future__ import annotations

from dataclasses import dataclass

# A saving below this share of the time is not worth finding out.
WORTH = 1.1
# Even calibrating on 100 images takes the time of about so many in fp32.
FEW = 400
# Seconds of a rough int8 network and its timing, before they were measured.
ROUGH = 2.0
# Seconds of a calibration apart from its images.
CALIBRATING = 3.5
# Of the images that int8 is compared on, in shares of int8's own time.
TRIAL_SHARE = 0.03
LEAST_SAMPLE, MOST_SAMPLE = 36, 600


@dataclass(frozen=True, kw_only=True)
class Work:
    """What is left to do in fp32, and in a faster precision.

    Attributes:
        exact: images that have no fp32 features yet.
        faster: images that have no features in the other precision yet.
        rate: images per second of the network in fp32.
        gain: how many times as fast the other is, at least and at most; the same number
            twice where it was measured.
        calibration: seconds until the other can start.
        decoding: seconds of an image until it reaches the network.
    """

    exact: int
    faster: int
    rate: float
    gain: tuple[float, float]
    calibration: float = 0.0
    decoding: float = 0.0

    @property
    def exact_seconds(self) -> float:
        """Seconds in fp32."""
        return self.exact * (self.decoding + 1 / self.rate)

    def faster_seconds(self, gain: float) -> float:
        """Return the seconds in the other precision if it has this *gain*."""
        if not self.faster:
            return 0.0
        return self.calibration + self.faster * (self.decoding + 1 / (self.rate * gain))

    @property
    def sample(self) -> int:
        """Images on which the two may be compared: some hundredths of the work."""
        seconds = TRIAL_SHARE * self.faster_seconds(self.gain[0])
        affordable = round(seconds / (self.decoding + 1 / self.rate))
        return min(MOST_SAMPLE, max(LEAST_SAMPLE, affordable))

    def verdict(self) -> str:
        """Return ``fp32`` or ``faster``, or ``measure`` where only a measurement can tell.

        >>> Work(exact=1000, faster=1000, rate=200, gain=(2, 2), calibration=6).verdict()
        'fp32'
        >>> Work(exact=20000, faster=20000, rate=200, gain=(2, 2), calibration=6).verdict()
        'faster'
        """
        least, most = self.gain
        if self.exact_seconds < WORTH * self.faster_seconds(most) or not self.exact:
            return "fp32"
        if self.exact_seconds >= WORTH * self.faster_seconds(least):
            return "faster"
        saved = self.exact_seconds - self.faster_seconds(most)
        return "measure" if saved > ROUGH else "fp32"

    def sentence(self, precision: str) -> str:
        """Return on one line why fp32 is taken."""
        if not self.exact:
            return "precision auto takes fp32: the features of all images are stored"
        seconds = self.faster_seconds(self.gain[1])
        return (
            f"precision auto takes fp32: what is left takes about {self.exact_seconds:.0f} s, "
            f"and {precision} would take {seconds:.0f} s at best"
        )
