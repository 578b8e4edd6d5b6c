"""`python -m aigc_sdk` is `aigc`."""

from .cli import main

main()
