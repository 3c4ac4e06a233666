"""The version, and the sentence that goes with every result. Imports nothing: what makes up the API imports this."""

__version__ = "0.2.0"

DISCLAIMER = "Not a medical device, not for clinical use."
