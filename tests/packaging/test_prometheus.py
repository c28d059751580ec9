"""Alert rules and dashboard: valid for Prometheus, each alert shown to fire and not to fire, and nothing
in them that packaging/prometheus/metrics.txt, which the program is held to, does not have."""

import json
import os
import re
import tempfile
import unittest
from dataclasses import dataclass

import yaml

from programs import ROOT, program, read, run
from series import series

FOLDER = os.path.join(ROOT, "packaging/prometheus")
RULES = os.path.join(FOLDER, "tunorch.rules.yml")
TESTS = os.path.join(FOLDER, "tunorch.rules.test.yml")
OF_PROMETHEUS = {"instance", "job"}  # labels that it adds to everything
NOT_OURS = {"up": OF_PROMETHEUS}
TYPES = ("gauge", "counter", "histogram")


@dataclass
class Metric:
    type: str
    labels: set
    help: str


def metrics():
    """By the name that a query uses: a histogram has three."""
    found = {}
    for line in read("packaging/prometheus/metrics.txt").splitlines():
        if line.startswith("#"):
            continue
        name, kind, labels, text = line.split(" ", 3)
        metric = Metric(kind, set() if labels == "-" else set(labels.split(",")), text)
        if kind == "histogram":
            found[name + "_bucket"] = Metric(kind, metric.labels | {"le"}, text)
            found[name + "_sum"] = found[name + "_count"] = metric
        else:
            found[name] = metric
    return found


METRICS = metrics()


def alerts():
    with open(RULES) as file:
        return [rule for group in yaml.safe_load(file)["groups"] for rule in group["rules"]]


def dashboard():
    return json.loads(read("packaging/prometheus/tunorch.dashboard.json"))


def queries(board):
    """(where, query, legend) of every panel, annotation and variable."""
    for panel in board["panels"]:
        for target in panel.get("targets", []):
            yield panel["title"], target["expr"], target["legendFormat"]
    for annotation in board["annotations"]["list"]:
        if "expr" in annotation:
            yield annotation["name"], annotation["expr"], annotation["titleFormat"] + annotation["textFormat"]
    for variable in board["templating"]["list"]:
        if variable["type"] == "query":
            selector, label = re.fullmatch(r"label_values\((.*), (\w+)\)",
                                           variable["query"]["query"]).groups()
            yield variable["name"], selector, "{{%s}}" % label


def plain(query):
    """Without what only Grafana understands."""
    return re.sub(r"\$\w+", ".*", query.replace("$__rate_interval", "5m"))


def unknown_in(query, legend=""):
    """What of a query's metrics and labels, and of its legend's labels, is not in the list."""
    wrong, allowed = [], set(OF_PROMETHEUS)
    for name, matchers in re.findall(r"\b(tunorch_\w+|up\b)(\{[^}]*\})?", query):
        labels = NOT_OURS.get(name) or (METRICS[name].labels if name in METRICS else None)
        if labels is None:
            wrong.append(name)
            continue
        allowed |= labels
        wrong += [f"{name}{{{label}}}" for label in re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", matchers)
                  if label not in labels | OF_PROMETHEUS]
    grouped = re.findall(r"\b(?:by|without|on|ignoring|group_left|group_right) \(([^)]*)\)", query)
    used = {label.strip() for labels in grouped for label in labels.split(",")}
    used |= set(re.findall(r"\{\{\s*(?:\$labels\.)?(\w+)\s*\}\}", legend))
    return wrong + sorted(used - allowed)


class List(unittest.TestCase):
    def test_every_line_says_type_labels_and_help(self):
        self.assertGreater(len(METRICS), 30)
        for name, metric in METRICS.items():
            self.assertRegex(name, r"^tunorch_[a-z_]+$")
            self.assertIn(metric.type, TYPES, name)
            self.assertRegex(metric.help, r"^[A-Z0-9].*\.$", name)
            self.assertEqual(name.endswith("_total"), metric.type == "counter", name)

    def test_names_are_there_once(self):
        lines = read("packaging/prometheus/metrics.txt").splitlines()
        names = [line.split()[0] for line in lines if not line.startswith("#")]
        self.assertEqual(sorted(names), sorted(set(names)))

    def test_finds_what_is_not_in_it(self):
        self.assertEqual(unknown_in("tunorch_nonsense"), ["tunorch_nonsense"])
        self.assertEqual(unknown_in('tunorch_daemon_up{peer="p"}'), ["tunorch_daemon_up{peer}"])
        self.assertEqual(unknown_in("sum by (engine) (tunorch_path_up)"), ["engine"])
        self.assertEqual(unknown_in("tunorch_path_up", "{{cause}} {{peer}}"), ["cause"])


class Rules(unittest.TestCase):
    def test_prometheus_takes_them(self):
        done = run(program("promtool"), "check", "rules", RULES)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_each_fires_and_does_not(self):
        done = run(program("promtool"), "test", "rules", TESTS)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        with open(TESTS) as file:
            tested = {(test["alertname"], bool(test["exp_alerts"]))
                      for group in yaml.safe_load(file)["tests"] for test in group["alert_rule_test"]}
        names = [alert["alert"] for alert in alerts()]
        self.assertEqual(tested, {(name, fires) for name in names for fires in (True, False)})

    def test_metrics_and_labels_are_in_the_list(self):
        for alert in alerts():
            words = alert["annotations"]["summary"] + alert["annotations"]["description"]
            self.assertEqual(unknown_in(alert["expr"], words), [], alert["alert"])

    def test_say_what_to_do(self):
        text = read("docs/runbook.md")
        headings = re.findall(r"(?m)^#+ (.*)$", text)
        anchors = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
        for alert in alerts():
            self.assertEqual(set(alert["annotations"]), {"summary", "description", "runbook"})
            self.assertIn(alert["labels"]["severity"], ("critical", "warning", "info"))
            path, _, anchor = alert["annotations"]["runbook"].partition("#")
            self.assertEqual(path, "docs/runbook.md")
            self.assertIn(anchor, anchors, alert["alert"])
            entry = next(part for part in text.split("\n## ")
                         if anchor == re.sub(r"[^\w -]", "", part.split("\n")[0].lower()).replace(" ", "-"))
            self.assertIn(f"`{alert['alert']}`", entry, "the entry names the alert that leads to it")


class Dashboard(unittest.TestCase):
    def setUp(self):
        self.board = dashboard()

    def test_panels_are_complete(self):
        panels = self.board["panels"]
        self.assertEqual(len({panel["id"] for panel in panels}), len(panels))
        for panel in panels:
            if panel["type"] == "row":
                continue
            self.assertTrue(panel["description"], panel["title"])
            self.assertTrue(panel["fieldConfig"]["defaults"]["unit"], panel["title"])
            self.assertTrue(all(target["legendFormat"] for target in panel["targets"]), panel["title"])

    def test_panels_lie_side_by_side(self):
        taken = {}
        for panel in self.board["panels"]:
            at = panel["gridPos"]
            self.assertLessEqual(at["x"] + at["w"], 24, panel["title"])
            for x in range(at["x"], at["x"] + at["w"]):
                for y in range(at["y"], at["y"] + at["h"]):
                    self.assertIsNone(taken.get((x, y)), f"{panel['title']} covers it")
                    taken[x, y] = panel["title"]

    def test_data_source_and_choice_are_variables(self):
        names = [variable["name"] for variable in self.board["templating"]["list"]]
        self.assertEqual(names, ["datasource", "instance", "bundle", "tunnel"])
        sources = re.findall(r'"uid": "([^"]*)"', json.dumps(self.board))
        self.assertEqual(set(sources), {"${datasource}", "-- Grafana --", "tunorch"})
        for where, query, _ in queries(self.board):
            if where != "instance":
                self.assertIn('instance=~"$instance"', query, where)

    def test_metrics_and_labels_are_in_the_list(self):
        found = list(queries(self.board))
        self.assertGreater(len(found), 40)
        for where, query, legend in found:
            self.assertEqual(unknown_in(query, legend), [], where)

    def test_shows_every_metric(self):
        text = " ".join(query for _, query, _ in queries(self.board))
        missing = [name for name in METRICS if not re.search(rf"\b{name}\b", text)]
        self.assertEqual(missing, [])

    def evaluated(self, asked):
        """What promtool says of queries for which nothing is promised: it names those that give something,
        and those that cannot be evaluated."""
        test = {"interval": "1m", "input_series": list(series(METRICS)),
                "promql_expr_test": [{"expr": query, "eval_time": "40m"} for query in asked]}
        with tempfile.NamedTemporaryFile("w", suffix=".yml") as file:
            yaml.safe_dump({"evaluation_interval": "1m", "tests": [test]}, file)
            file.flush()
            done = run(program("promtool"), "test", "rules", file.name)
        return done.stdout + done.stderr

    def test_every_query_shows_something(self):
        asked = [plain(query) for _, query, _ in queries(self.board)]
        said = self.evaluated(asked)
        self.assertNotIn("err:", said)
        for (where, _, _), query in zip(queries(self.board), asked):
            self.assertIn(f'expr: {json.dumps(query, ensure_ascii=False)}, time', said, where)

    def test_a_query_that_shows_nothing_is_found(self):
        self.assertIn("SUCCESS", self.evaluated(['tunorch_daemon_up{instance="nobody"}']))
        self.assertIn("err:", self.evaluated(["tunorch_path_up + on (instance) tunorch_daemon_up"]))


if __name__ == "__main__":
    unittest.main()
