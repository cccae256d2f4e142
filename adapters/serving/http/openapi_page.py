"""`/docs`: the OpenAPI as a page that loads nothing from elsewhere."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

STYLE = """
body{font:16px/1.5 system-ui,sans-serif;max-width:52rem;margin:2rem auto;padding:0 1rem;color-scheme:light dark}
pre{padding:.75rem;overflow:auto;border:1px solid #8886;border-radius:.4rem;font-size:.875rem}
h2{margin-top:2.5rem;border-bottom:1px solid #8886} code{font-size:.95em} dt{font-weight:600} dd{margin:0 0 .4rem 1rem}
"""


def page_headers() -> dict[str, str]:
    """A content security policy that allows only the page's own style."""
    digest = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; frame-ancestors 'none'"
    return {"Content-Security-Policy": policy, "X-Content-Type-Options": "nosniff"}


def page_of(document: Mapping[str, Any]) -> str:
    """The page of an OpenAPI document."""
    title = escape(document["info"]["title"])
    parts = [
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style><main><h1>{title}</h1>'
        f"<p>{_prose(document['info']['description'])} For programs: <a href='/openapi.json'>/openapi.json</a>.</p>"
    ]
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            parts += _operation(path, method.upper(), operation, document["components"]["schemas"])
    return "\n".join([*parts, "</main></html>"])


def _operation(path: str, method: str, operation: Mapping[str, Any], schemas: Mapping[str, Any]) -> Iterator[str]:
    """One method of one path."""
    yield f"<h2><code>{method} {escape(path)}</code></h2>"
    yield f"<p>{escape(operation['summary'])}. {_prose(operation['description'])}</p>"
    command = ["curl", f"http://127.0.0.1:8000{path.replace('{id}', 'ner')}"]
    if method in ("PUT", "DELETE"):
        command[1:1] = ["-X", method]
    for kind, content in operation.get("requestBody", {}).get("content", {}).items():
        body = _example(content, schemas)
        shown = body if isinstance(body, str) else json.dumps(body, ensure_ascii=False)
        command += ["-H", f"'Content-Type: {kind}'", "--data-binary", "'" + shown.replace("'", "'\\''") + "'"]
    if operation.get("security"):
        command.append('-H "Authorization: Bearer $TOKEN"')
    yield f"<pre>{escape(' '.join(command))}</pre><dl>"
    for status, answer in operation["responses"].items():
        yield f"<dt>{escape(status)}</dt><dd>{_prose(answer['description'])}"
        for content in answer.get("content", {}).values():
            if "example" in content:
                yield f"<pre>{escape(json.dumps(content['example'], indent=1, ensure_ascii=False))}</pre>"
        yield "</dd>"
    yield "</dl>"


def _prose(text: str) -> str:
    """Text of the OpenAPI, whose descriptions are Markdown: what is between backticks is code."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text))


def _example(content: Mapping[str, Any], schemas: Mapping[str, Any]) -> Any:
    """An example of a body, or of its schema."""
    if "example" in content:
        return content["example"]
    for example in content.get("examples", {}).values():
        return example["value"]
    name = content["schema"].get("$ref", "").rpartition("/")[2]
    return schemas.get(name, {}).get("examples", [{}])[0]
