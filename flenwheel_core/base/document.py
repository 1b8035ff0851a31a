"""The base of every document that crosses a boundary."""

from typing import Self

from pydantic import BaseModel, ConfigDict, ValidationError

from flenwheel_core.base.errors import CorruptManifestError
from flenwheel_core.base.ids import canonical_json, digest_json


def impossible(error: ValidationError) -> str:
    """What is wrong with values that people chose, for them."""
    problems = [f"{'.'.join(str(part) for part in item['loc'])}: {item['msg']}" for item in error.errors()]
    return f"This is not a possible {error.title}.\nWhy: " + "; ".join(problems)


class Document(BaseModel):
    """A frozen document: JSON both ways, unknown keys refused, named by the digest of its canonical JSON."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="constants", protected_namespaces=())

    def content_digest(self) -> str:
        """The sha256 of the canonical JSON of this document."""
        return digest_json(self.model_dump(mode="json"))

    def to_bytes(self) -> bytes:
        """The canonical JSON of this document."""
        return canonical_json(self.model_dump(mode="json"))

    @classmethod
    def from_bytes(cls, data: bytes, *, where: str) -> Self:
        """The document in `data`; raises CorruptManifestError naming `where` if it is none."""
        try:
            return cls.model_validate_json(data)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(str(part) for part in first["loc"]) or "the document"
            raise CorruptManifestError(
                f"{where} cannot be read as {cls.__name__}.",
                why=f"{place}: {first['msg']}.",
                remedy="Restore the file from a backup, or remove it: what it describes is then made again.",
            ) from error
