"""Notifications of a run's end: a webhook or a Prefect notification block, named by `ANIME_LORA_NOTIFY`.

The setting is an environment variable because a webhook's address is a secret: it is never logged, never tracked.
"""

import json
import logging
import os
import urllib.request
from typing import Any

SETTING = "ANIME_LORA_NOTIFY"
"""`https://…` for a webhook (POST of {"text", "event"}, as Slack and Mattermost take it), or `type/name` of a Prefect
block such as `slack-webhook/nights` or, for Discord, `discord-webhook/nights`."""
TIMEOUT = 10.0
log = logging.getLogger("prefect.notify")


def notify(event: str, text: str) -> None:
    """Send `text`; nothing without the setting. A failure to send is logged and fails no run."""
    target = os.environ.get(SETTING)
    if not target:
        return
    try:
        if target.startswith(("http://", "https://")):
            _post(target, event, text)
        else:
            _send_through_block(target, event, text)
    except Exception as error:  # every block and server has its own errors; the address must not reach the log
        log.warning("%s: no notification of %s (%s)", SETTING, event, type(error).__name__)


def _post(url: str, event: str, text: str) -> None:
    body = json.dumps({"text": f"anime-lora {event}: {text}", "event": event}).encode()
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=TIMEOUT):
        pass


def _send_through_block(slug: str, event: str, text: str) -> None:
    from prefect.blocks.core import Block

    block: Any = Block.load(slug)  # typed for async callers too, which this is not
    block.notify(body=text, subject=f"anime-lora {event}")


def notify_failure(flow: Any, flow_run: Any, state: Any) -> None:
    """Hook of a flow: send the run's name and the reason it failed for; Prefect calls it with these keywords."""
    notify("failed", f"{flow_run.name}: {state.message or state.name}")
