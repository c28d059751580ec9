"""Writes README.md from what the role's argument_specs say; with --check only compares."""

import os
import sys

import yaml

HERE = os.path.dirname(os.path.abspath(__file__))
HEAD = """# tunorch.fleet

An Ansible collection that puts a [tunorch](../README.md) cluster on a fleet of Debian hosts: packages, keys, the
cluster file, one part of the fleet after the other, and back again where a part does not get healthy.

    ansible-galaxy collection install ./ansible
    ansible-playbook -i inventory.yml tunorch.fleet.site

The hosts are those of the group `tunorch`:

```yaml
tunorch:
  vars:
    tunorch_package: /srv/tunorch_0.1.0_amd64.deb   # from ./dev package
    tunorch_cluster_file: /srv/cluster.yaml
  hosts:
    gateway: {ansible_host: 203.0.113.10, tunorch_firewall_chain: inet filter input}
    edge-1: {ansible_host: 198.51.100.7}
```

| playbook | what it does |
|---|---|
| `site` | Checks the cluster file on the controller, then on every host, before anything changes. Installs, and\
 applies: listeners first where something is added, dialers first where something only goes; in each part the \
host that stands first in the inventory goes alone, the canary. A host that does not get healthy stops it, and \
every host goes back to what it had. `--check --diff` shows what would change |
| `upgrade` | The new package, a host at a time (`tunorch_serial`): the new daemon goes on with the tunnels that\
 run, then each worker is drained and restarted. An older package is the way back |
| `rotate` | New certificates and keys by the same CA; then each tunnel is drained and connected anew |
| `status` | How every host is; fails where a tunnel is not up |
| `uninstall` | Dialers, then listeners: down, package and files away |

The program `tunorch` has to be on the controller too. Keys are made there, in `tunorch_controller_dir`: the CA's key
never leaves it, and each node's key goes to that node alone. Tags of `site` and of the role: `tunorch_install`
(package, settings, firewall) and `tunorch_apply` (keys, file); the checks are always made.

A host that hears nothing after its part, because the controller or the way to it is gone, goes back by itself after
`tunorch_confirm`. A run over the whole fleet has to be shorter than that.

Forwarding and masquerading are the cluster file's (`subnets`, `masquerade`): they are there while it is applied. The
role opens the ports of listeners in a firewall that the host already has, where `tunorch_firewall_chain` names it.

## Variables of the role

| name | type | default | |
|---|---|---|---|
"""


def text():
    with open(os.path.join(HERE, "roles/tunorch/meta/argument_specs.yml")) as file:
        options = yaml.safe_load(file)["argument_specs"]["main"]["options"]
    rows = ""
    for name, option in options.items():
        description = option["description"]
        words = description if isinstance(description, str) else " ".join(description)
        words = words.replace("C(", "`").replace(")", "`") if "C(" in words else words
        default = option["default"]
        shown = f"`{default}`" if default not in ("", {}, []) else "none"
        rows += f"| `{name}` | {option['type']} | {shown} | {words} |\n"
    return HEAD + rows


def main():
    path = os.path.join(HERE, "README.md")
    if sys.argv[1:] == ["--check"]:
        with open(path) as file:
            sys.exit("README.md is not as readme.py makes it: run ansible/readme.py"
                     if file.read() != text() else 0)
    with open(path, "w") as file:
        file.write(text())


if __name__ == "__main__":
    main()
