"""The pages of the API reference: which modules are public, and what of them; mkdocstrings fills them with the docstrings."""

from __future__ import annotations

from importlib import import_module

CORE = [
    "aigc_sdk",
    "aigc_sdk.errors",
    "aigc_sdk.media",
    "aigc_sdk.training",
    "aigc_sdk.training.search",
    "aigc_sdk.adapters",
    "aigc_sdk.attribution",
    "aigc_sdk.comparison",
    "aigc_sdk.folder",
    "aigc_sdk.weights",
    "aigc_sdk.runtime",
    "aigc_sdk.testing",
]
PLUGINS = {
    "gpt2": ["model", "train", "evaluate", "score"],
    "bert": ["model", "judge", "train", "explain", "annotate", "augment"],
    "gan": ["model", "train", "judge"],
    "vae": ["model", "train", "evaluate", "sound"],
    "tts": ["model", "train", "evaluate", "captions"],
    "video": ["model", "train", "evaluate", "pipelines"],
    "metrics": ["text", "image", "video", "speech", "crossmodal", "features"],
    "process": ["prepare", *(f"finish.{name}" for name in import_module("aigc_sdk_process.finish").__all__), "compose"],
    "echo": ["model", "train", "evaluate"],
}


def pages() -> dict[str, str]:
    """Every page by its name."""
    made = {f"api/{name}.md": f"# {name}\n\n{block(name, titled=False)}" for name in CORE}
    for plugin, modules in PLUGINS.items():
        package = f"aigc_sdk_{plugin}"
        text = "\n".join(block(f"{package}.{module}", titled=True) for module in modules)
        made[f"api/{package}.md"] = f"# {package}\n\n{text}"
    return made


def block(name: str, *, titled: bool) -> str:
    """What mkdocstrings turns into the description of a module: of what it exports, where it says so."""
    lines = [f"::: {name}", "    options:", "      heading_level: 2", f"      show_root_heading: {str(titled).lower()}"]
    exported = [each for each in getattr(import_module(name), "__all__", []) if each != "errors"]
    if exported:
        lines += ["      members:", *(f"        - {each}" for each in exported)]
    return "\n".join(lines) + "\n"
