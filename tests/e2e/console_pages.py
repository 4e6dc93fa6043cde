"""Pages, scripts and tasks for the tests of the web console."""

from __future__ import annotations

import http.server
import json

MARKUP = "<img src=x onerror=alert(1)><script>alert(2)</script>"
HOSTILE = f"""printf '%s\\n' '{MARKUP}' "$(printf '\\033[31mred\\033[0m \\033]8;;http://evil.test\\007link\\033]8;;\\007')"
echo '{MARKUP}' > '<b>x.txt'; printf 'def f():\\n    return 2\\n' > app.py"""
ASKS = json.dumps({"question": "Which port?", "choices": ["8080", "9090"]})
QUESTION = f"mkdir -p .pancode; echo '{ASKS}' > .pancode/question.json"

TURNS = "fix \u202egnp.exe for all"
"""U+202E turns what follows it round."""

MODULE = "const module = (name) => import(new URL(name, document.querySelector('script[type=module]').src));"
"""The page's own copy of a module: its files lie in a folder that is named by their digest."""

FIRST_ACTS = (
    f"async () => {{ {MODULE}"
    + """
  const { askedFor } = await module('lib/acts.js');
  const of = { verification: { state: 'partly' }, continued_by: [] };
  const done = { state: 'ended', outcome: 'done', commit: 'c', status: 'to_land', ...of };
  const ended = (more) => askedFor({ ...done, ...more });
  const states = {
    error: 'error', lost: 'lost', interrupted: 'stopped', verify_failed: 'gate_failed', blocked: 'asks_you',
  };
  return {
    running: askedFor({ state: 'running' }), done: ended({}), landed: ended({ landed: 'x' }),
    empty: ended({ commit: null }),
    unverified: ended({ verification: { state: 'unverified' } }),
    conflict: ended({ status: 'conflict' }),
    ...Object.fromEntries(
      Object.entries(states).map(([outcome, status]) => [outcome, ended({ outcome, status })]),
    ),
  };
}"""
)
WANTED_ACTS = {
    "running": "",
    "done": "land",
    "landed": "",
    "empty": "",
    "unverified": "look",
    "conflict": "resolve",
    "error": "retry",
    "lost": "retry",
    "interrupted": "retry",
    "verify_failed": "gate",
    "blocked": "answer",
}
"""The act that each state asks for."""

SCROLL = """async () => {
  const box = document.querySelector('.log'), found = [];
  for (let i = 0; i < 20; i += 1) {
    box.scrollTop = i * 90000;
    await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
    found.push(document.querySelectorAll('.log .row').length);
  }
  return found;
}"""

WANTED = """# add a --json flag to export, with a test
cat > export.py <<'EOF'
import json


def export(rows, as_json=False):
    if as_json:
        return json.dumps(sorted(rows))
    return sorted(rows)
EOF"""
BROKEN = """# read the rows from a file
printf 'from rows import read\\n' >> export.py
printf 'echo "ImportError: no module named rows"; exit 1\\n' > check.sh"""
SLOW = """# migrate the tests to the new client
for i in $(seq 600); do echo "test $i of 600 passed"; sleep 0.2; done"""

ROUTES = (
    f"async () => {{ {MODULE}"
    + """
  const [{ PAGES }, { PARTS }] = await Promise.all([module('app.js'), module('pages/run.js')]);
  return { pages: Object.keys(PAGES), parts: Object.keys(PARTS) };
}"""
)

MARKS = """() => {
  const plain = [];
  const all = 'a[href], button:enabled, input, select, textarea, [tabindex="0"]';
  for (const one of document.querySelectorAll(all)) {
    if (!one.checkVisibility()) continue;
    one.focus({ focusVisible: true, preventScroll: true });
    const drawn = [getComputedStyle(one), getComputedStyle(one, '::after')];
    const marked = drawn.some((how) => how.outlineStyle !== 'none' && parseFloat(how.outlineWidth) >= 2);
    if (document.activeElement === one && !marked) plain.push(one.outerHTML.slice(0, 120));
  }
  document.activeElement?.blur();
  return plain;
}"""
"""Whatever can have the focus and does not show it by a line of two pixels."""


class Foreign(http.server.BaseHTTPRequestHandler):
    """A page of another port of this machine, such as a server that an agent has started."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<title>foreign</title><iframe></iframe>")

    def log_message(self, *_: object) -> None:
        pass


STEAL = """async ([url, token]) => {
  const [json, text] = [{'Content-Type': 'application/json'}, {'Content-Type': 'text/plain'}];
  const [bearer, drain] = [{Authorization: `Bearer ${token}`}, {method: 'POST', body: '{}'}];
  const asks = [
    ['v1/runs', {}],
    ['v1/runs', {headers: bearer}],
    ['v1/fleet/drain', {...drain, headers: text}],
    ['v1/fleet/drain', {...drain, headers: {...json, ...bearer}}],
  ];
  const ask = ([path, how]) =>
    fetch(url + path, {credentials: 'include', ...how}).then((answer) => answer.status, () => 'refused');
  return Promise.all(asks.map(ask));
}"""
