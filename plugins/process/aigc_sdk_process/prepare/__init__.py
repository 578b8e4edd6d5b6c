"""Data before training: items read, cleaned, freed of duplicates, split, described, multiplied and labelled.

    items.py       Item, and the Journal that names everything that was left out
    reading.py     folders, tables and data sets as items       writing.py   items as files that others read too
    texts.py       cleaning texts          private.py   personal data
    pictures.py, sounds.py, films.py       cleaning those
    duplicates.py  duplicates and leakage; minhash.py finds them among texts, prints.py among other media
    splits.py      training, validation and test      cards.py     the fingerprint and the data card; prepared.py takes
                   the items with it to a trainer
    augment.py     changed copies          labels.py     labels and agreement
    label_files.py their formats           cvat.py       that of CVAT

Steps take items and yield items, one at a time, so that they can be put together in any order:

    journal = Journal()
    items = read("corpus.jsonl", journal)
    items = deduplicate(clean_texts(items, journal, mask=["all"]), journal)
    write(items, "clean.jsonl")
    print(journal)
"""

from __future__ import annotations

from .augment import (
    FilmChanges,
    PictureChanges,
    SoundChanges,
    augment_films,
    augment_pictures,
    augment_sounds,
    augment_texts,
    mix_pictures,
)
from .cards import Card, card, fingerprint
from .duplicates import Leak, Leakage, deduplicate, leakage, without_leaks
from .films import FilmRules, clean_films, cuts, split_shots
from .items import Drop, Item, Journal, progress
from .label_files import read_labels, write_labels
from .labels import (
    Agreement,
    Label,
    Protocol,
    agreement,
    cohen_kappa,
    fleiss_kappa,
    label_items,
    with_labels,
)
from .pictures import PictureRules, clean_pictures
from .prepared import Prepared
from .private import Found, Masked, find_private, mask_private
from .reading import read
from .sounds import SoundRules, clean_sounds
from .splits import part_of, split
from .texts import TextRules, clean_texts
from .writing import write

__all__ = [
    "Agreement",
    "Card",
    "Drop",
    "FilmChanges",
    "FilmRules",
    "Found",
    "Item",
    "Journal",
    "Label",
    "Leak",
    "Leakage",
    "Masked",
    "PictureChanges",
    "PictureRules",
    "Prepared",
    "Protocol",
    "SoundChanges",
    "SoundRules",
    "TextRules",
    "agreement",
    "augment_films",
    "augment_pictures",
    "augment_sounds",
    "augment_texts",
    "card",
    "clean_films",
    "clean_pictures",
    "clean_sounds",
    "clean_texts",
    "cohen_kappa",
    "cuts",
    "deduplicate",
    "find_private",
    "fingerprint",
    "fleiss_kappa",
    "label_items",
    "leakage",
    "mask_private",
    "mix_pictures",
    "part_of",
    "progress",
    "read",
    "read_labels",
    "split",
    "split_shots",
    "with_labels",
    "without_leaks",
    "write",
    "write_labels",
]
