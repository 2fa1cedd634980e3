"""Waits until the record store has seen everything the server acknowledged.

    python await_view.py --url http://127.0.0.1:8080 --key-file FILE --acks acks.jsonl

Takes the highest `seq` of the acknowledged answers and asks a member list for at least that: the server answers once
the view behind the list has got there. Exit code: 0 seen, 1 not in time, 2 could not ask.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterable
from pathlib import Path

# Answers that mean "not yet": the view is behind, or the server is busy. Anything else will not get better by asking again.
NOT_YET = (408, 409, 425, 429, 503, 504)
ASK_AGAIN_SECONDS = 0.1


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--url", required=True, help="where the server listens")
    parser.add_argument("--key-file", type=Path, required=True, help="file with an operator's or auditor's key")
    parser.add_argument("--acks", type=Path, required=True, help="acknowledged answers, JSON lines")
    parser.add_argument("--within", type=float, default=60.0, help="seconds to wait at most")
    arguments = parser.parse_args()
    try:
        with arguments.acks.open(encoding="utf-8") as lines:
            member, seq = last_answer(lines)
        key = arguments.key_file.read_text(encoding="ascii").strip()
        seen = wait(arguments.url, key, member, seq, arguments.within)
    except (OSError, ValueError) as error:
        print(f"await_view: asking {arguments.url} for the answers of {arguments.acks}: {error}", file=sys.stderr)
        return 2
    if not seen:
        print(f"await_view: the view did not reach seq {seq} within {arguments.within} seconds", file=sys.stderr)
        return 1
    print(f"await_view: the view has reached seq {seq}")
    return 0


def last_answer(lines: Iterable[str]) -> tuple[str, int]:
    """The member and seq of the answer with the highest seq. Refuses an empty file: there is nothing to wait for."""
    answers = [json.loads(line) for line in lines if line.strip()]
    if not answers:
        raise ValueError("no acknowledged answers")
    try:
        last = max(answers, key=lambda answer: answer["seq"])
        return last["member"], last["seq"]
    except KeyError as error:
        raise ValueError(f"an acknowledged answer without {error}") from error


def wait(url: str, key: str, member: str, seq: int, within: float) -> bool:
    """True once the list of `member` is at `seq` or later; False if it is not so after `within` seconds."""
    deadline = time.monotonic() + within
    while True:
        if (reached := _ask(url, key, member, seq)) is not None and reached >= seq:
            return True
        if time.monotonic() >= deadline:
            return False
        time.sleep(ASK_AGAIN_SECONDS)


def _ask(url: str, key: str, member: str, seq: int) -> int | None:
    request = urllib.request.Request(
        f"{url}/v1/members/{member}/coupons?at_least={seq}&limit=1", headers={"Authorization": f"Bearer {key}"}
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return int(json.load(answer)["seq"])
    except urllib.error.HTTPError as error:
        if error.code in NOT_YET:
            return None
        raise


if __name__ == "__main__":
    sys.exit(main())
