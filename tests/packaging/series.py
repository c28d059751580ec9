"""What two nodes with two tunnels and two peers would export of each metric of the list, for promtool: a
counter grows by one a minute, a gauge is 1."""

import itertools

VALUES = {
    "instance": ("a", "b"), "job": ("tunorch",), "bundle": ("b",), "tunnel": ("b-0", "b-1"),
    "peer": ("p", "q"), "engine": ("native",), "version": ("1",), "cluster": ("c",), "node": ("n",),
    "certificate": ("ca.crt",), "result": ("answered", "lost", "done", "failed"),
    "cause": ("path", "drain"), "reason": ("late", "multicast"), "event": ("applied",),
    "state": ("up", "degraded", "down",
              "stopped", "starting", "running", "stopping", "backoff", "quarantined"),
    "le": ("0.001", "1", "+Inf"),
}


def series(metrics):
    for name, metric in metrics.items():
        labels = ["job", "instance", *sorted(metric.labels)]
        for values in itertools.product(*(VALUES[label] for label in labels)):
            pairs = ",".join(f'{label}="{value}"' for label, value in zip(labels, values))
            yield {"series": f"{name}{{{pairs}}}", "values": "1x60" if metric.type == "gauge" else "0+1x60"}
