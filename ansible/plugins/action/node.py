"""Stands between the coordinator, which says the steps, and the machine, where they are carried out."""

from __future__ import annotations

import json
import subprocess
import tempfile

from ansible.errors import AnsibleActionFail

from ansible.plugins.action import ActionBase

MODULE = "pancode.fleet.steps"


class Talk:
    """`pancode node steps`: one line of JSON each way at a time."""

    def __init__(self, command, words):
        self._said = tempfile.TemporaryFile("w+")
        argv = [*command, "node", "steps", *words, "--json"]
        try:
            self._process = subprocess.Popen(
                argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._said, text=True
            )
        except OSError as error:
            fix = "install PanCode where Ansible runs, or set pancode_command to its command line"
            raise AnsibleActionFail(f"{argv[0]} cannot be started: {error}\n  fix: {fix}") from error

    def say(self, **words):
        try:
            self._process.stdin.write(json.dumps(words) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            self._fail()

    def hear(self):
        line = self._process.stdout.readline()
        return json.loads(line) if line else self._fail()

    def end(self):
        """Wait for it; it is killed when it does not end by itself."""
        self._process.stdin.close()
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
        self._said.close()

    def _fail(self):
        self._process.wait(30)
        self._said.seek(0)
        raise AnsibleActionFail(in_words(self._said.read()))


def in_words(said):
    """PanCode's own error: what, why, and the command that mends it."""
    try:
        error = json.loads(said.strip().splitlines()[-1])
        error = error.get("error", error)
        lines = [error["message"]]
        lines += [f"  {name}: {error[name]}" for name in ("why", "fix") if error.get(name)]
        return "\n".join(lines)
    except (ValueError, IndexError, KeyError, AttributeError):
        return said.strip()[-1500:] or "pancode ended without a word"


class ActionModule(ActionBase):
    """The action `pancode.fleet.node`."""

    _supports_check_mode = True
    _supports_diff = True

    def run(self, tmp=None, task_vars=None):
        result = super().run(tmp, task_vars)
        _, asked = self.validate_argument_spec(
            {
                "name": {"type": "str", "required": True},
                "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
                "user": {"type": "str", "default": ""},
                "command": {"type": "list", "elements": "str", "default": ["pancode"]},
            }
        )
        words = [asked["name"]]
        words += ["--check"] if self._task.check_mode else []
        words += ["--remove"] if asked["state"] == "absent" else []
        talk = Talk(asked["command"], words)
        try:
            result.update(self._bring(talk, asked, task_vars))
        finally:
            talk.end()
            self._remove_tmp_path(self._connection._shell.tmpdir)
        return result

    def _bring(self, talk, asked, task_vars):
        here = _Machine(self, asked["user"], task_vars)
        probed = here.carry([{"name": "probe", "acts": [talk.hear()["look"]]}])
        here.home = dict(line.partition("=")[::2] for line in probed["output"].splitlines()).get(
            "node_home", ""
        )
        talk.say(output=probed["output"])
        plan = talk.hear()
        done = here.carry(plan["steps"], plan.get("key") or "")
        if asked["state"] == "absent" and done["left"]:
            raise AnsibleActionFail("left there: " + ", ".join(done["left"]))
        talk.say(changed=done["steps"], key=done["key"])
        if asked["state"] == "absent" or self._task.check_mode:
            return here.result()
        more = talk.hear()
        if "steps" in more:
            done = here.carry(more["steps"])
            talk.say(changed=done["steps"])
            more = talk.hear()
        joined = more["result"]
        if not joined["ok"]:
            raise AnsibleActionFail("\n".join(_problem(problem) for problem in joined["problems"]))
        here.changed += [f"fleet up: {step}" for step in joined["changed"]]
        return here.result()


def _problem(problem):
    return problem["what"] + (f"\n  fix: {problem['fix']}" if problem["fix"] else "")


class _Machine:
    """The steps of one node, carried out by the module on the machine."""

    def __init__(self, action, user, task_vars):
        self._action, self._user, self._vars = action, user, task_vars
        self.changed, self._diff = [], []
        self.home = ""

    def carry(self, steps, key=""):
        archives = {} if self._action._task.check_mode else self._sent(steps)
        secrets = {act["path"]: act.pop("content") for act in _puts(steps) if act["secret"]}
        done = self._action._execute_module(
            module_name=MODULE,
            module_args={
                "steps": steps,
                "secrets": secrets,
                "archives": archives,
                "user": self._user,
                "key": key,
            },
            task_vars=self._vars,
        )
        if done.get("failed"):
            raise AnsibleActionFail(done.get("msg", "the steps failed"), result=done)
        self.changed += done["steps"]
        self._diff += done.get("diff", [])
        return done

    def _sent(self, steps):
        """The files of the coordinator that a step puts, on the machine; by their path there."""
        shell, sent = self._action._connection._shell, {}
        for act in _puts(steps):
            if act.get("source"):
                if shell.tmpdir is None:
                    self._action._make_tmp_path()
                name = shell.join_path(shell.tmpdir, act["path"].rpartition("/")[2])
                sent[act["path"]] = self._action._transfer_file(act["source"], name)
        return sent

    def result(self):
        return {"changed": bool(self.changed), "steps": self.changed, "home": self.home, "diff": self._diff}


def _puts(steps):
    return [act for step in steps for act in step["acts"] if act["kind"] == "put"]
