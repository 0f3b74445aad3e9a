"""What a server of objects refuses, told as a SharedTrouble with the permission that is missing.

Errors are known by their names and codes: this file works without the vendor's packages.
"""

from http import HTTPStatus

from mlbuild.core.redact import redacted
from mlbuild.shared.base import SharedTrouble
from mlbuild.shared.place import Place

ABSENT = frozenset({"NoSuchKey", "NoSuchVersion", "InvalidObjectState"})  # the last: archived
TAKEN = frozenset({"PreconditionFailed"})
UNKNOWN = frozenset({"NotImplemented", "MethodNotAllowed"})
_BUSY = frozenset(
    {
        "ConditionalRequestConflict",
        "OperationAborted",
        "RequestLimitExceeded",
        "RequestTimeout",
        "RequestTimeoutException",
        "ServiceUnavailable",
        "SlowDown",
        "Throttling",
        "ThrottlingException",
        "TooManyRequests",
    }
)
_BUSY_STATUS = frozenset(
    {
        HTTPStatus.REQUEST_TIMEOUT,
        HTTPStatus.TOO_MANY_REQUESTS,
        HTTPStatus.SERVICE_UNAVAILABLE,
    }
)
_EXPIRED = frozenset({"ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired"})
_STRANGERS = frozenset({"InvalidAccessKeyId", "InvalidToken", "InvalidClientTokenId"})
_ELSEWHERE = frozenset(
    {
        "AuthorizationHeaderMalformed",
        "IllegalLocationConstraintException",
        "PermanentRedirect",
        "TemporaryRedirect",
    }
)
_FULL = frozenset(
    {"QuotaExceeded", "QuotaExceededException", "XMinioStorageFull", "EntityTooLarge"}
)
_SPOILED = frozenset({"BadDigest", "IncompleteBody", "InvalidDigest", "XAmzContentSHA256Mismatch"})
_REDIRECTED, _FAILED = 3, 5  # hundreds of a status
_NAMELESS = {  # errors of the vendor's that never reached a server: no code, but a class
    "NoCredentialsError": "there are no credentials for",
    "PartialCredentialsError": "the credentials are incomplete for",
    "CredentialRetrievalError": "no credentials could be obtained for",
    "MetadataRetrievalError": "no credentials could be obtained for",
    "LoginError": "no credentials could be obtained for",
    "SSOError": "the login has expired for",
    "TokenRetrievalError": "the login has expired for",
}
_LOGIN = (
    "run `aws sso login` or `aws configure`, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; "
    "for a bucket that everybody may read, add `?anonymous=1` to the address"
)


def refusal(error: BaseException) -> tuple[str, int]:
    """Return the code and the HTTP status of a server's answer; "" and 0 when there was none."""
    answer = getattr(error, "response", None)
    if not isinstance(answer, dict):
        return "", 0
    code = str(answer.get("Error", {}).get("Code", ""))
    return code, int(answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def trouble(error: BaseException, operation: str, *, place: Place) -> SharedTrouble:
    """Return what `error` means to who uses the bucket at `place`.

    `operation` is named as in the vendor's permissions: "GetObject".
    """
    code, status = refusal(error)
    if code or status:
        return _refused(error, operation, place=place)
    return _never_answered(error, place=place)


def _refused(error: BaseException, operation: str, *, place: Place) -> SharedTrouble:
    code, status = refusal(error)
    shown = f"`{place.shown}`"
    if code == "NoSuchBucket" or (status == HTTPStatus.NOT_FOUND and operation != "GetObject"):
        return SharedTrouble(
            "refused",
            f"there is no bucket `{place.bucket}`",
            cure=f"create it (`aws s3 mb s3://{place.bucket}`) or correct the address",
        )
    if code in _EXPIRED:
        return SharedTrouble("denied", f"the credentials for {shown} have expired", cure=_LOGIN)
    if code in _STRANGERS:
        message = f"the server of {shown} does not know these credentials"
        return SharedTrouble("denied", message, cure=_LOGIN)
    if code == "SignatureDoesNotMatch":
        message = f"the secret key does not belong to the access key for {shown}"
        return SharedTrouble("denied", message, cure=_LOGIN)
    if code in {"RequestTimeTooSkewed", "RequestExpired"}:
        return SharedTrouble(
            "refused",
            f"the clocks of this machine and of the server of {shown} are too far apart",
            cure="set this machine's clock (`timedatectl set-ntp true`)",
        )
    if code in _ELSEWHERE or status // 100 == _REDIRECTED:
        return SharedTrouble(
            "refused",
            f"the bucket `{place.bucket}` is in another region{_region(error)}",
            cure="add `?region=NAME` to the address",
        )
    if code in _FULL or status == HTTPStatus.INSUFFICIENT_STORAGE:
        cure = "make room: `mlbuild cache gc --remote`"
        return SharedTrouble("full", f"there is no room left in {shown}", cure=cure)
    if code in _BUSY or status in _BUSY_STATUS:
        return SharedTrouble("slow", f"the server of {shown} is busy ({code or status})")
    if code in _SPOILED:
        return SharedTrouble("unreachable", f"bytes were spoiled on their way to {shown} ({code})")
    if status // 100 == _FAILED and code not in UNKNOWN:
        return SharedTrouble("unreachable", f"the server of {shown} failed ({code or status})")
    if code.startswith("KMS.") or "kms:" in str(error):
        return SharedTrouble(
            "denied",
            f"the credentials may not use the key that encrypts {shown}",
            cure="allow them `kms:GenerateDataKey` and `kms:Decrypt` on that key",
        )
    if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        return _denied(operation, place=place)
    message = f"the server of {shown} refused {operation} ({code or status})"
    return SharedTrouble("refused", message)


def _denied(operation: str, *, place: Place) -> SharedTrouble:
    """Name the permission that is missing."""
    bucket = f"arn:aws:s3:::{place.bucket}"
    below = f"{bucket}/{place.key('*')}"
    match operation:
        case "GetObject":  # without s3:ListBucket S3 says 403 of an object that is not there
            needed = f"`s3:GetObject` on `{below}` and `s3:ListBucket` on `{bucket}`"
        case "ListObjectsV2":
            needed = f"`s3:ListBucket` on `{bucket}`"
        case _:
            needed = f"`s3:{_permission(operation)}` on `{below}`"
    return SharedTrouble(
        "denied",
        f"the credentials may not s3:{_permission(operation)} on `{place.shown}`",
        cure=f"allow them {needed}",
    )


def _permission(operation: str) -> str:
    names = {"ListObjectsV2": "ListBucket", "DeleteObjects": "DeleteObject"}
    return names.get(operation, operation)


def _region(error: BaseException) -> str:
    """Return ", NAME" when the server says which."""
    answer = getattr(error, "response", {})
    told = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("x-amz-bucket-region", "")
    name = told or answer.get("Error", {}).get("Region", "")
    return f", `{name}`" if name else ""


def _never_answered(error: BaseException, *, place: Place) -> SharedTrouble:
    """Tell apart what went wrong before there was an answer, or in the middle of one."""
    kinds = {kind.__name__ for kind in type(error).__mro__}
    server = redacted(place.endpoint) or "S3"
    for kind, text in _NAMELESS.items():
        if kind in kinds:
            return SharedTrouble("denied", f"{text} `{place.shown}`", cure=_LOGIN)
    if "ProfileNotFound" in kinds:
        return SharedTrouble(
            "denied",
            f"there is no AWS profile `{place.profile}`" if place.profile else str(error),
            cure="see the profiles that there are with `aws configure list-profiles`",
        )
    if "SSLError" in kinds:
        return SharedTrouble(
            "refused",
            f"the certificate of `{server}` is not trusted",
            cure="set AWS_CA_BUNDLE to the file with your authority's certificate",
        )
    if kinds & {"ReadTimeoutError", "ConnectTimeoutError", "TimeoutError"}:
        return SharedTrouble("slow", f"`{server}` does not answer in time", cure=_NETWORK)
    if kinds & {"ResponseParserError"}:
        return SharedTrouble("unreachable", f"`{server}` answers, but not as S3 does")
    if kinds & {"HTTPClientError", "ConnectionError", "ProtocolError", "OSError", "HTTPException"}:
        return SharedTrouble("unreachable", f"`{server}` cannot be reached", cure=_NETWORK)
    return SharedTrouble("refused", f"`{place.shown}` cannot be used: {error}")


_NETWORK = "check the network, the proxy settings and the address"
