#!/usr/bin/python
"""Carries out PanCode's own steps on a machine: the ones that `pancode fleet up` would, told as data."""

from __future__ import annotations

DOCUMENTATION = r"""
module: steps
short_description: Carry out the steps of a PanCode bring-up or removal
description:
  - Puts files where they differ and runs the constant scripts that M(pancode.fleet.node) hands on.
  - Not for use by itself. What the steps are is decided by the coordinator, and nowhere else.
options:
  steps:
    description: The steps, as C(pancode node steps) tells them.
    type: list
    elements: dict
    required: true
  secrets:
    description: Contents of secret files in base64, by path.
    type: dict
    default: {}
  archives:
    description: Where on this machine the files of the coordinator were put, by path.
    type: dict
    default: {}
  user:
    description: The login that the node agent runs as. Only root can act for another one.
    type: str
    default: ""
  key:
    description: The node's own public key, as the fleet knows it. With another one, the steps end there.
    type: str
    default: ""
author:
  - The PanCode authors (@pancode)
attributes:
  check_mode:
    description: Says what would change and changes nothing.
    support: full
  diff_mode:
    description: Shows the text of files, but of secret ones, and which steps changed.
    support: full
"""

EXAMPLES = r"""
- name: Look at the machine
  pancode.fleet.steps:
    steps:
      - name: probe
        acts: []
"""

RETURN = r"""
steps:
  description: The names of the steps that changed, or would change, anything.
  type: list
  elements: str
  returned: always
output:
  description: What the last script or command printed.
  type: str
  returned: always
key:
  description: The node's own public key.
  type: str
  returned: when the key step was carried out
left:
  description: What of the fleet is still there after a removal.
  type: list
  elements: str
  returned: always
"""

import base64
import hashlib
import os
import pwd
import stat
import subprocess

from ansible.module_utils.basic import AnsibleModule

BEGIN = "@@pancode-begin@@\n"
END = "@@pancode-end@@"
PUT = 'umask 077; cat > "$1.part" && chmod "$2" "$1.part" && mv -f "$1.part" "$1"'
PATH = "/usr/local/bin:/usr/bin:/bin:/usr/games"
"""What a login by SSH has, whoever became root to act for it: Python is found in the same place."""


class Failed(Exception):
    """A step that did not end well."""


class Login:
    """The login whose node agent it is: its own process, or root acting for it."""

    def __init__(self, name):
        me = pwd.getpwuid(os.geteuid())
        try:
            self.entry = pwd.getpwnam(name) if name else me
        except KeyError:
            raise Failed(
                "there is no login %s\n  fix: make it, or set node_create_user: true" % name
            ) from None
        if self.entry.pw_uid != me.pw_uid and me.pw_uid != 0:
            raise Failed(
                "%s cannot act for %s\n  fix: set become: true, or connect as %s"
                % (me.pw_name, self.entry.pw_name, self.entry.pw_name)
            )
        self.other = self.entry.pw_uid != me.pw_uid

    def run(self, argv, timeout, stdin=b"", file=None):
        """Exit status, standard output and standard error of an argument list."""
        given = {"stdin": file} if file else {"input": stdin}
        try:
            done = subprocess.run(argv, capture_output=True, timeout=timeout, **given, **self._as())
        except subprocess.TimeoutExpired:
            raise Failed("%s did not finish within %g s" % (argv[0], timeout)) from None
        except OSError as error:
            raise Failed("%s cannot be started: %s" % (argv[0], error)) from error
        return done.returncode, done.stdout.decode("utf-8", "replace"), done.stderr.decode("utf-8", "replace")

    def _as(self):
        who = self.entry
        env = {"PATH": PATH, "HOME": who.pw_dir, "USER": who.pw_name, "LOGNAME": who.pw_name}
        env["SHELL"] = who.pw_shell
        # Without the user manager's address a login that root acts for would have no user services.
        runtime = "/run/user/%d" % who.pw_uid
        if os.path.isdir(runtime):
            env["XDG_RUNTIME_DIR"] = runtime
        if not self.other:
            return {"env": dict(os.environ, **env), "cwd": who.pw_dir}
        groups = os.getgrouplist(who.pw_name, who.pw_gid)
        return {
            "env": env,
            "cwd": who.pw_dir,
            "user": who.pw_uid,
            "group": who.pw_gid,
            "extra_groups": groups,
        }


class Carrier:
    """Carries out steps in order and remembers what changed."""

    def __init__(self, module, login):
        self.module, self.login = module, login
        self.check = module.check_mode
        self.changed, self.diffs, self.left = [], [], []
        self.key, self.output = "", ""

    def step(self, step):
        stale = set(self.changed) & set(step.get("again_after", ()))
        acts = step["again"] if stale else step["acts"]
        before = len(self.diffs)
        changes = [self.act(step["name"], act) for act in acts]
        if any(changes):
            self.changed.append(step["name"])
            if len(self.diffs) == before:
                self.diffs.append({"prepared": "%s: %s\n" % (step["name"], step.get("says", ""))})

    def act(self, name, act):
        return getattr(self, "_" + act["kind"])(name, act)

    def _put(self, name, act):
        if not self._differs(act):
            return False
        text = self._content(act)
        self.diffs.append(self._diff(act, text))
        if self.check:
            return True
        argv = ["sh", "-c", PUT, "sh", act["path"], act["mode"]]
        if text is not None:
            status, _, said = self.login.run(argv, 60, stdin=text)
        else:
            with open(self.module.params["archives"][act["path"]], "rb") as file:
                status, _, said = self.login.run(argv, 300, file=file)
        if status:
            raise Failed("%s cannot be written: %s" % (act["path"], said.strip()[-400:]))
        return True

    def _differs(self, act):
        try:
            mode = stat.S_IMODE(os.stat(act["path"]).st_mode)
            with open(act["path"], "rb") as file:
                sha256 = hashlib.sha256(file.read()).hexdigest()
        except OSError:
            return True
        return not act["keep"] and (sha256 != act["sha256"] or mode != int(act["mode"], 8))

    def _content(self, act):
        if act.get("source"):
            return None
        said = self.module.params["secrets"][act["path"]] if act["secret"] else act["content"]
        return base64.b64decode(said)

    def _diff(self, act, text):
        path = act["path"]
        if text is None:
            return {"prepared": "put %s\n" % path}
        try:
            with open(path, "rb") as file:
                old = file.read()
        except OSError:
            old = b""
        if act["secret"]:
            old, text = (b"(hidden)\n" if old else b""), b"(hidden, another one)\n"
        return {
            "before": old.decode("utf-8", "replace"),
            "after": text.decode("utf-8", "replace"),
            "before_header": path,
            "after_header": path,
        }

    def _script(self, name, act):
        if self.check and not act.get("look"):
            return name != "prove"  # nothing was taken away, so there is nothing to prove
        text = act["look"] if self.check else act["text"]
        argv = ["sh", "-s", "--"] + act["args"]
        status, out, err = self.login.run(argv, act["timeout_s"], stdin=text.encode())
        self.output = out
        begin, end = out.rfind(BEGIN), out.rfind(END)
        if status or begin < 0 or end < begin:
            raise Failed("the step %s failed (exit %s): %s" % (name, status, (err.strip() or out)[-800:]))
        said = out[begin + len(BEGIN) : end].splitlines()
        left = [line[len("left=") :] for line in said if line.startswith("left=")]
        if name == "prove":
            self.left = left
            return False
        return "changed=yes" in said or bool(left)

    def _command(self, name, act):
        if self.check:
            return False
        status, out, err = self.login.run(act["argv"], act["timeout_s"])
        if status:
            raise Failed("the step %s failed (exit %s): %s" % (name, status, err.strip()[-800:]))
        self.output = out
        if name == "key":
            self.key = out.strip()
        return False


def main():
    module = AnsibleModule(
        argument_spec={
            "steps": {"type": "list", "elements": "dict", "required": True},
            "secrets": {"type": "dict", "default": {}, "no_log": True},
            "archives": {"type": "dict", "default": {}},
            "user": {"type": "str", "default": ""},
            "key": {"type": "str", "default": "", "no_log": False},
        },
        supports_check_mode=True,
    )
    try:
        carrier = Carrier(module, Login(module.params["user"]))
        for step in module.params["steps"]:
            carrier.step(step)
            if (
                step["name"] == "key"
                and module.params["key"]
                and carrier.key not in ("", module.params["key"])
            ):
                break
    except Failed as error:
        module.fail_json(msg=str(error))
    module.exit_json(
        changed=bool(carrier.changed),
        steps=carrier.changed,
        output=carrier.output,
        key=carrier.key,
        left=carrier.left,
        diff=carrier.diffs if module._diff else [],
    )


if __name__ == "__main__":
    main()
