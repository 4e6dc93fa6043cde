"""Implements the Trackers port for GitHub, GitLab and Linear, each with its own names of states."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any
from urllib.parse import quote

from node_agent.wire.clock import Clock
from pancode.git.forge import github, gitlab
from pancode.git.forge.http import REFUSED, ForgeClient, KnownAnswers, open_client, rate_limit_error
from pancode.git.forge_rules import ForgeAccess, ForgeKind, TrackerKind, TrackerPlace, api_of
from pancode.issues.model import LABELS, OVER, Issue, IssueState, number_of, read_wait_s
from pancode.kernel.errors import ConfigError, NotFoundError, RefusedError, UnavailableError
from pancode.kernel.values import replace

MOST_COMMENTS = 100
PAGE, MOST_PAGES = 100, 10
"""Rows per page of a tracker's answer, and the most pages that are requested."""
ASK_S = 10.0
_LINEAR = "https://api.linear.app/graphql"
_VARIABLE = {
    TrackerKind.GITHUB: "GITHUB_TOKEN",
    TrackerKind.GITLAB: "GITLAB_TOKEN",
    TrackerKind.LINEAR: "LINEAR_API_KEY",
}
_VARIABLE_HOST = {TrackerKind.GITHUB: "github.com", TrackerKind.GITLAB: "gitlab.com"}
"""The host that gets the token from the environment variable; `GITLAB_HOST` may name another for GitLab. No
other host gets that token."""
_LOGIN = {
    TrackerKind.GITHUB: ("gh", "auth", "token", "--hostname"),
    TrackerKind.GITLAB: ("glab", "config", "get", "token", "--host"),
}
"""The commands of gh and glab that print the token of a login; the host is appended to the command."""


class HttpTrackers:
    """Implements pancode.issues.model.Trackers."""

    def __init__(
        self,
        read: Callable[[], Mapping[str, ForgeAccess]],
        secret: Callable[[str], str],
        environ: Mapping[str, str],
        clock: Clock,
    ) -> None:
        """`read`: returns the forges' settings, by host; `environ`: the coordinator's environment."""
        self._read, self._secret, self._environ, self._clock = read, secret, environ, clock
        self._known: dict[str, KnownAnswers] = {}
        """Cached answers of trackers, by token."""
        self._limits: dict[str, tuple[int, UnavailableError]] = {}
        """When a forge accepts requests with a token again, and the error that reported it, by token."""

    def issue(self, place: TrackerPlace, ref: str) -> Issue:
        try:
            found: Issue = self._call_tracker(place, lambda client, speaks: speaks.issue(client, place, ref))
        except NotFoundError as error:
            if error.code != "forge_not_found":
                raise
            where = f"{place.repository.host}/{place.repository.path}"
            fix = f"open issues: pancode issue ls; or {error.fix}"
            raise NotFoundError(
                f"issue {ref} not found in {where}", why=error.why, fix=fix, code=error.code
            ) from error
        return found

    def issues(self, place: TrackerPlace, prefix: str, most: int, label: str = "") -> Sequence[Issue]:
        found: dict[str, Issue] = {}

        def read(client: ForgeClient, speaks: Any) -> None:
            after: object = None
            for _ in range(MOST_PAGES):
                page, after = speaks.issues(client, place, prefix, label, after)
                for one in page:  # an issue that changes between two pages appears on both
                    if not label or label.lower() in (name.lower() for name in one.labels):
                        found[one.ref] = one
                if after is None or len(found) >= most:
                    return

        self._call_tracker(place, read)
        return list(found.values())[:most]

    def move(self, place: TrackerPlace, issue: Issue, state: IssueState) -> None:
        self._call_tracker(place, lambda client, speaks: speaks.move(client, place, issue, state))

    def comment(self, place: TrackerPlace, issue: Issue, text: str, known: str) -> str:
        mark = text.partition("\n")[0]

        def upsert(client: ForgeClient, speaks: Any) -> str:
            def changed(one: str) -> bool:
                # the comment was deleted, or belongs to another account
                with suppress(NotFoundError, RefusedError):
                    speaks.write(client, place, issue, one, text)
                    return True
                return False

            if known and changed(known):
                return known
            own = speaks.comments(client, place, issue)
            old = next((one for one, body in own if body.startswith(mark) and one != known), None)
            if old is not None and changed(old):
                return str(old)
            return str(speaks.write(client, place, issue, None, text)["id"])

        return str(self._call_tracker(place, upsert))

    def _call_tracker(self, place: TrackerPlace, act: Callable[[ForgeClient, Any], Any]) -> Any:
        place, token = self._open_place(place)
        speaks: Any = _DIALECTS[place.kind]
        fix = f"check the setting forge.{place.repository.host}.url in pancode.yaml"
        known, now = self._known.setdefault(token, {}), self._clock.mono_ms()
        until, limit = self._limits.get(token, (0, None))
        if limit is not None and now < until:
            raise rate_limit_error(str(limit), limit.why, -(-(until - now) // 1000))
        try:
            with open_client(place, token, speaks.headers(token), self._clock, fix, known) as client:
                return act(client, speaks)
        except UnavailableError as error:
            if wait_s := read_wait_s(error):
                self._limits[token] = now + int(wait_s * 1000), error
            raise

    def _open_place(self, place: TrackerPlace) -> tuple[TrackerPlace, str]:
        """Return the place with its API's address, and the token: a stored secret, a variable or a login."""
        host = place.repository.host
        access = self._read().get(host)
        usual = _LINEAR if place.kind is TrackerKind.LINEAR else api_of(
            place.repository, ForgeKind(place.kind.value)
        )  # fmt: skip
        api = (access.url if access is not None and access.url else usual).rstrip("/")
        variable = _VARIABLE[place.kind]
        if access is not None:
            return replace(place, api=api, token=access.token), self._secret(access.token)
        own = _VARIABLE_HOST.get(place.kind, host)
        if place.kind is TrackerKind.GITLAB and (named := self._environ.get("GITLAB_HOST", "").strip()):
            own = named.rpartition("//")[2].rstrip("/")
        value = self._environ.get(variable, "").strip()
        if value and host == own:
            return replace(place, api=api, token=variable), value
        if place.kind in _LOGIN and (value := self._login(place.kind, host)):
            return replace(place, api=api, token=_LOGIN[place.kind][0]), value
        raise ConfigError(
            f"no token is set for {host}",
            why=f"{variable} is only for {own}, and no login was found"
            if value
            else f"{variable} is not set for the coordinator, and no login was found",
            fix=f"pancode config secret tracker, and in pancode.yaml of your PANCODE_HOME: "
            f"forge: {{{host}: {{token: secret:tracker}}}}",
            code="no_forge_token",
        )

    def _login(self, kind: TrackerKind, host: str) -> str:
        program, *words = _LOGIN[kind]
        found = shutil.which(program, path=self._environ.get("PATH"))
        if found is None:
            return ""
        try:
            done = subprocess.run(
                [found, *words, host],
                stdin=subprocess.DEVNULL, capture_output=True, env=dict(self._environ),
                timeout=ASK_S, check=False,
            )  # fmt: skip
        except (OSError, subprocess.TimeoutExpired):
            return ""
        return done.stdout.decode(errors="replace").strip() if done.returncode == 0 else ""


def _next_page(rows: Sequence[object], page: int) -> int | None:
    return page + 1 if len(rows) == PAGE else None


def _select_own(
    rows: Sequence[Mapping[str, Any]], by: str, ways: Sequence[Callable[[], Any]]
) -> list[tuple[str, str]]:
    """Return only the token account's comments, as another account may copy PanCode's mark. `ways`: functions
    that request the account's id; the first permitted one counts. If none is, return none."""
    for way in ways:
        with suppress(NotFoundError, RefusedError):
            me = way()
            return [(str(row["id"]), str(row["body"])) for row in rows if (row.get(by) or {}).get("id") == me]
    return []


def _by_labels(closed: bool, reason: str, labels: Sequence[str]) -> IssueState:
    """Return the state of an issue from its labels, for a tracker whose only states are open and closed."""
    if closed:
        return IssueState.CLOSED if reason == "not_planned" else IssueState.DONE
    return next((state for state in reversed(LABELS) if state.value in labels), IssueState.OPEN)


class GitHubIssues:
    """GitHub's issues (docs.github.com/rest/issues), which are open or closed; other states are labels."""

    headers = staticmethod(github.make_headers)

    def _make_issues_url(self, place: TrackerPlace) -> str:
        return f"{github.repository_path(place.repository)}/issues"

    def issue(self, client: ForgeClient, place: TrackerPlace, ref: str) -> Issue:
        row = client.get(f"{self._make_issues_url(place)}/{number_of(ref)}")
        if "pull_request" in row:
            raise NotFoundError(f"{ref} is a pull request", fix="pancode issue ls", code="not_found")
        return self._parse_issue(row, ref)

    def issues(
        self, client: ForgeClient, place: TrackerPlace, prefix: str, label: str, after: int | None
    ) -> tuple[list[Issue], int | None]:
        """Return one page of issues and the next page's number. A label with a comma is not in the query."""
        page, only = after or 1, {"labels": label} if label and "," not in label else {}
        rows = client.get(
            self._make_issues_url(place), state="open", sort="updated", per_page=PAGE, page=page, **only
        )
        found = [row for row in rows if "pull_request" not in row]
        return [self._parse_issue(row, f"{prefix}-{row['number']}") for row in found], _next_page(rows, page)

    def _parse_issue(self, row: Mapping[str, Any], ref: str) -> Issue:
        labels = tuple(str(one["name"]) for one in row["labels"])
        state = _by_labels(row["state"] == "closed", str(row.get("state_reason")), labels)
        people = tuple(str(one["login"]) for one in row["assignees"])
        author = str((row.get("user") or {}).get("login", ""))
        return Issue(ref, str(row["number"]), str(row["title"]), str(row["body"] or ""),
                     str(row["html_url"]), state, labels, people, author)  # fmt: skip

    def move(self, client: ForgeClient, place: TrackerPlace, issue: Issue, state: IssueState) -> None:
        at = f"{self._make_issues_url(place)}/{issue.id}"
        if state in LABELS:
            client.post(f"{at}/labels", {"labels": [state.value]})
        for label in LABELS:
            if label.value in issue.labels and label is not state:
                client.send("DELETE", f"{at}/labels/{quote(label.value)}", None)
        if state is IssueState.DONE:
            client.send("PATCH", at, {"state": "closed", "state_reason": "completed"})

    def comments(self, client: ForgeClient, place: TrackerPlace, issue: Issue) -> list[tuple[str, str]]:
        rows = client.get(f"{self._make_issues_url(place)}/{issue.id}/comments", per_page=MOST_COMMENTS)
        # The token of a GitHub app may not send the first request.
        return _select_own(
            rows, "user", (lambda: client.get("/user")["id"], lambda: github.read_viewer(client))
        )

    def write(
        self, client: ForgeClient, place: TrackerPlace, issue: Issue, old: str | None, text: str
    ) -> Any:
        if old is None:
            return client.post(f"{self._make_issues_url(place)}/{issue.id}/comments", {"body": text})
        return client.send("PATCH", f"{self._make_issues_url(place)}/comments/{old}", {"body": text})


class GitLabIssues:
    """GitLab's issues (docs.gitlab.com/api/issues), which are opened or closed; other states are labels."""

    headers = staticmethod(gitlab.make_headers)

    def _make_issues_url(self, place: TrackerPlace) -> str:
        return f"{gitlab.repository_path(place.repository)}/issues"

    def issue(self, client: ForgeClient, place: TrackerPlace, ref: str) -> Issue:
        return self._parse_issue(client.get(f"{self._make_issues_url(place)}/{number_of(ref)}"), ref)

    def issues(
        self, client: ForgeClient, place: TrackerPlace, prefix: str, label: str, after: int | None
    ) -> tuple[list[Issue], int | None]:
        # the query has no label: GitLab's filter is case-sensitive, and users vary the case
        page = after or 1
        rows = client.get(
            self._make_issues_url(place), state="opened", order_by="updated_at", per_page=PAGE, page=page
        )
        return [self._parse_issue(row, f"{prefix}-{row['iid']}") for row in rows], _next_page(rows, page)

    def _parse_issue(self, row: Mapping[str, Any], ref: str) -> Issue:
        labels = tuple(map(str, row["labels"]))
        people = tuple(str(one["username"]) for one in row.get("assignees") or ())
        author = str((row.get("author") or {}).get("username", ""))
        return Issue(ref, str(row["iid"]), str(row["title"]), str(row["description"] or ""),
                     str(row["web_url"]), _by_labels(row["state"] == "closed", "", labels),
                     labels, people, author)  # fmt: skip

    def move(self, client: ForgeClient, place: TrackerPlace, issue: Issue, state: IssueState) -> None:
        old = ",".join(label.value for label in LABELS if label is not state)
        body: dict[str, object] = {"remove_labels": old}
        body |= {"add_labels": state.value} if state in LABELS else {}
        body |= {"state_event": "close"} if state is IssueState.DONE else {}
        client.send("PUT", f"{self._make_issues_url(place)}/{issue.id}", body)

    def comments(self, client: ForgeClient, place: TrackerPlace, issue: Issue) -> list[tuple[str, str]]:
        rows = client.get(
            f"{self._make_issues_url(place)}/{issue.id}/notes", per_page=MOST_COMMENTS, sort="desc"
        )
        return _select_own(rows, "author", (lambda: client.get("/user")["id"],))

    def write(
        self, client: ForgeClient, place: TrackerPlace, issue: Issue, old: str | None, text: str
    ) -> Any:
        at = f"{self._make_issues_url(place)}/{issue.id}/notes"
        return client.send(*(("POST", at) if old is None else ("PUT", f"{at}/{old}")), {"body": text})


_FIELDS = """id identifier title description url state { name type } labels { nodes { name } }
 assignee { name email } creator { name email }"""
_TYPES = {"completed": IssueState.DONE, "canceled": IssueState.CLOSED}


class LinearIssues:
    """The issues of Linear's GraphQL API, where each team has its own states, each of one of a few types."""

    def headers(self, token: str) -> dict[str, str]:
        return {"authorization": token}

    def _ask(self, client: ForgeClient, query: str, **variables: object) -> Mapping[str, Any]:
        """Return the answer's `data`. RefusedError with Linear's text for an error (status 200 as well)."""
        reply = client.post("", {"query": query, "variables": variables})
        if reply.get("errors"):
            why = str(reply["errors"][0].get("message"))[:200]
            raise RefusedError(
                "Linear refused the request", why=why, fix="check the issue in Linear", code=REFUSED
            )
        found: Mapping[str, Any] = reply["data"]
        return found

    def issue(self, client: ForgeClient, place: TrackerPlace, ref: str) -> Issue:
        query = f"query($id: String!) {{ issue(id: $id) {{ {_FIELDS} }} }}"
        return self._parse_issue(self._ask(client, query, id=ref)["issue"])

    def issues(
        self, client: ForgeClient, place: TrackerPlace, prefix: str, label: str, after: str | None
    ) -> tuple[list[Issue], str | None]:
        query = (
            "query($most: Int!, $after: String, $only: IssueFilter!) "
            "{ issues(first: $most, after: $after, orderBy: updatedAt, filter: $only) "
            f"{{ nodes {{ {_FIELDS} }} pageInfo {{ hasNextPage endCursor }} }} }}"
        )
        only: dict[str, object] = {
            "team": {"key": {"eq": place.repository.name}},
            "state": {"type": {"nin": ["completed", "canceled"]}},
        }
        if label:
            only["labels"] = {"name": {"eqIgnoreCase": label}}
        found = self._ask(client, query, most=PAGE, after=after, only=only)["issues"]
        more = found["pageInfo"]
        page = [self._parse_issue(row) for row in found["nodes"]]
        return page, str(more["endCursor"]) if more["hasNextPage"] else None

    def _parse_issue(self, row: Mapping[str, Any]) -> Issue:
        kind, name = str(row["state"]["type"]), str(row["state"]["name"]).lower()
        started = IssueState.REVIEW if "review" in name else IssueState.PROGRESS
        state = _TYPES.get(kind, started if kind == "started" else IssueState.OPEN)
        labels = tuple(str(one["name"]) for one in row["labels"]["nodes"])
        mine, wrote = row.get("assignee") or {}, row.get("creator") or {}
        people = (str(mine["name"]),) if mine else ()
        author, accounts = str(wrote.get("name", "")), filter(None, [(mine or wrote).get("email")])
        return Issue(str(row["identifier"]), str(row["id"]), str(row["title"]), str(row["description"] or ""),
                     str(row["url"]), state, labels, people, author, tuple(accounts))  # fmt: skip

    def move(self, client: ForgeClient, place: TrackerPlace, issue: Issue, state: IssueState) -> None:
        query = (
            "query($id: String!) { issue(id: $id) { team { states { nodes { id name type position } } } } }"
        )
        rows = self._ask(client, query, id=issue.id)["issue"]["team"]["states"]["nodes"]
        kind = "completed" if state in OVER else "started"
        fit = sorted((row for row in rows if row["type"] == kind), key=lambda row: float(row["position"]))
        word = "review" if state is IssueState.REVIEW else "progress"
        named = [row for row in fit if word in str(row["name"]).lower()]
        if not fit:
            what = f"Linear's team {place.repository.name} has no state of type {kind}"
            raise RefusedError(what, fix="add a state of that type in Linear", code=REFUSED)
        change = (
            "mutation($id: String!, $to: String!) { issueUpdate(id: $id, input: {stateId: $to}) { success } }"
        )
        self._ask(client, change, id=issue.id, to=(named or fit)[0]["id"])

    def comments(self, client: ForgeClient, place: TrackerPlace, issue: Issue) -> list[tuple[str, str]]:
        query = (
            "query($id: String!, $most: Int!) { viewer { id } "
            "issue(id: $id) { comments(first: $most) { nodes { id body user { id } } } } }"
        )
        found = self._ask(client, query, id=issue.id, most=MOST_COMMENTS)
        rows, me = found["issue"]["comments"]["nodes"], found["viewer"]["id"]
        return [(str(row["id"]), str(row["body"])) for row in rows if (row["user"] or {}).get("id") == me]

    def write(
        self, client: ForgeClient, place: TrackerPlace, issue: Issue, old: str | None, text: str
    ) -> Any:
        if old is None:
            what, inside = "commentCreate", "input: {issueId: $id, body: $body}"
        else:
            what, inside = "commentUpdate", "id: $id, input: {body: $body}"
        change = f"mutation($id: String!, $body: String!) {{ {what}({inside}) {{ comment {{ id }} }} }}"
        return self._ask(client, change, id=old or issue.id, body=text)[what]["comment"]


_DIALECTS: Mapping[TrackerKind, object] = {
    TrackerKind.GITHUB: GitHubIssues(),
    TrackerKind.GITLAB: GitLabIssues(),
    TrackerKind.LINEAR: LinearIssues(),
}
