"""Place: where in somebody's S3 a shared cache lies, as its address says."""

from dataclasses import dataclass
from urllib.parse import parse_qsl, unquote, urlsplit

from mlbuild.core.redact import redacted
from mlbuild.errors import InputError, did_you_mean

OPTIONS = ("endpoint_url", "region", "profile", "path_style", "anonymous")
_YES, _NO = frozenset({"1", "true", "yes"}), frozenset({"0", "false", "no"})


@dataclass(frozen=True, slots=True)
class Place:
    """A prefix in a bucket, and how to reach it; "" and None leave it to the AWS settings."""

    bucket: str
    prefix: str = ""
    endpoint: str = ""
    region: str = ""
    profile: str = ""
    path_style: bool | None = None
    anonymous: bool = False

    @property
    def shown(self) -> str:
        """Bucket and prefix, as messages name them."""
        return f"{self.bucket}/{self.prefix}" if self.prefix else self.bucket

    def key(self, name: str) -> str:
        """Return the object's key in the bucket."""
        return f"{self.prefix}/{name}" if self.prefix else name


def place_of(url: str) -> Place:
    """Read `s3://bucket/prefix[?option=value&…]`; raise InputError for what cannot be meant."""
    parts, shown = urlsplit(url), redacted(url)
    if parts.scheme != "s3" or not parts.netloc or "@" in parts.netloc:
        raise InputError(f"`{shown}` is not an address such as `s3://bucket/prefix`")
    given: dict[str, str] = {}
    for name, value in parse_qsl(parts.query, keep_blank_values=True):
        if name not in OPTIONS:
            listed = ", ".join(f"`{option}`" for option in OPTIONS)
            raise InputError(
                f"`{shown}` has the option `{name}`, which an `s3://` address does not know",
                hints=did_you_mean(name, list(OPTIONS)) or (f"it knows {listed}",),
            )
        given[name] = value
    return Place(
        bucket=parts.netloc,
        prefix=unquote(parts.path).strip("/"),
        endpoint=given.get("endpoint_url", ""),
        region=given.get("region", ""),
        profile=given.get("profile", ""),
        path_style=_truth(shown, "path_style", given.get("path_style", "")),
        anonymous=_truth(shown, "anonymous", given.get("anonymous", "")) or False,
    )


def _truth(shown: str, option: str, text: str) -> bool | None:
    if text.lower() in _YES:
        return True
    if text.lower() in _NO:
        return False
    if text:
        raise InputError(f"`{option}` in `{shown}` is `{text}`, neither 1 nor 0")
    return None
