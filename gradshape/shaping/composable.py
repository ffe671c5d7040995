"""What lets parts be joined by ``|``."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gradshape.shaping.shaper import Part, Shaper


class Composable:
    """A part with ``part | other``."""

    __slots__ = ()

    def __or__(self, other: "Part | Shaper") -> "Shaper":
        # Shapers know the parts, so that parts can know shapers only here.
        from gradshape.shaping.shaper import Shaper

        return Shaper((self,)) | other  # type: ignore[arg-type]
