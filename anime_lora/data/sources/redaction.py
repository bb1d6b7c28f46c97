"""URLs without what opens them: no list, error or log holds a password or a token."""

import logging
import re

USER = re.compile(r"(?<=://)[^/\s'\"?#]+@")
QUERY = re.compile(r"([?&][^=&\s#'\"]+)=[^&\s#'\")\]>]+")
REMOVED = "***"


def redact(text: str) -> str:
    """The text with `user:password@` of each URL removed, and the values of its query replaced by `***`."""
    return QUERY.sub(rf"\1={REMOVED}", USER.sub("", text))


class RedactingFilter(logging.Filter):
    """Redacts the records of a library that logs the URLs it asks for."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Rewrites the record; every one passes."""
        record.msg, record.args = redact(record.getMessage()), ()
        return True
