"""Importing plugins in processes of their own, to tell of every fault without suffering it."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from .errors import AigcError, printable
from .registry import ROLES, Listing, backend, resolve

TIMEOUT = 60  # seconds; importing torch and transformers from a cold disk takes up to 20


def probe(listings: list[Listing], timeout: float = TIMEOUT) -> list[Listing]:
    """The same listings, each with the `problem` that importing it and its classes meets, or None."""
    with ThreadPoolExecutor(max_workers=2) as pool:
        return list(pool.map(lambda each: _probed(each, timeout), listings))


def _probed(listing: Listing, timeout: float) -> Listing:
    if listing.problem or not listing.value:
        return listing
    command = [sys.executable, "-P", "-m", "aigc_sdk.probe", listing.qualified]  # -P: a file here shadows no module
    try:
        done = subprocess.run(command, capture_output=True, timeout=timeout, stdin=subprocess.DEVNULL, check=False)
    except subprocess.TimeoutExpired:
        return replace(listing, problem=f"importing it takes longer than {timeout:g} s")
    if done.returncode == 0:
        return listing
    said = done.stdout.decode(errors="replace").strip().splitlines()
    return replace(
        listing, problem=printable(said[-1] if said else f"importing it ends the process ({done.returncode})", 400)
    )


def _main(name: str) -> int:
    try:
        manifest = backend(name)
        for role in ROLES:
            if getattr(manifest, role):
                resolve(name, role)
    except AigcError as error:
        print(error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(_main(sys.argv[1]))
