"""Libraries that training, measuring, reports and embeddings need; an installation that annotates does without them."""

from __future__ import annotations

from importlib import import_module

from .errors import SettingsError


def require(*modules: str, extra: str = "training") -> None:
    """See before hours of work that what its end needs is there.

    Args:
        extra: of this package, which brings the modules.

    Raises:
        SettingsError: one of the modules cannot be imported.
    """
    for module in modules:
        try:
            import_module(module)
        except ImportError as error:
            raise SettingsError(
                f"This needs {module}, which is not installed.",
                found=str(error),
                remedy=f"pip install 'splicebert-vep[{extra}]'",
            ) from error
