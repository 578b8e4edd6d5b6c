"""Which token is next: sampling, and whatever a call may ask of it."""
