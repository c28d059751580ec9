"""What the package says about its programs, made from what they say about themselves: the man page of tunorch
and the completions of three shells from its --help, that of the cluster file from its schema, those of
tunorch-worker and tunorch-web from their own --help.

    from_help.py BIN VERSION OUT    BIN: the folder of the programs; writes OUT/tunorch.1,
                                    tunorch-cluster.yaml.5, tunorch-worker.8, tunorch-web.8, tunorch.bash,
                                    _tunorch, tunorch.fish
"""

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass, field

HERE = os.path.dirname(os.path.abspath(__file__))
SCHEMA = os.path.join(HERE, "../configs/cluster.schema.json")


@dataclass
class Option:
    flags: list        # "-h", "--help"
    value: str         # "NAME"; empty: a switch
    initial: str
    variable: str      # of the environment
    text: str


@dataclass
class Verb:
    words: list        # ["pki", "init"]; empty: the program
    summary: str = ""
    positionals: list = field(default_factory=list)  # (name, what, required, text)
    options: list = field(default_factory=list)
    verbs: list = field(default_factory=list)
    more: str = ""

    @property
    def name(self):
        return " ".join(self.words)

    @property
    def own_options(self):
        return [option for option in self.options if "--help" not in option.flags]


def parse_option(head, text):
    flags, _, rest = head.partition(" ")
    variable = re.search(r"\(Env:(\w+)\)", rest)
    value, _, initial = re.sub(r"\(Env:\w+\)", "", rest).strip().partition("=")
    return Option(flags.split(","), value, initial, variable[1] if variable else "", text)


def rows(lines):
    """`  HEAD   text`, or a long head with its text on the next line."""
    heads = []
    for line in lines:
        if re.match(r"  \S", line):
            head, _, text = line.strip().partition("  ")
            heads.append([head, text.strip()])
        elif line.strip():
            heads[-1][1] = line.strip()
    return heads


def read_help(program, words=()):
    done = subprocess.run([program, *words, "--help"], check=True, capture_output=True, text=True)
    verb = Verb(list(words))
    top, *parts = re.split(r"\n(Positionals|Options|Subcommands):\n", done.stdout)
    verb.summary = top.splitlines()[0]
    if parts:  # the last part is followed by an empty line and what else there is to say
        parts[-1], _, verb.more = parts[-1].partition("\n\n")
    for title, body in zip(parts[::2], parts[1::2]):
        for head, text in rows(body.splitlines()):
            if title == "Positionals":
                name, _, what = head.partition(" ")
                what, required = what.replace(" REQUIRED", ""), "REQUIRED" in what
                what = name if what in ("TEXT", "UINT") else what
                verb.positionals.append((name, what, required, text))
            elif title == "Options":
                verb.options.append(parse_option(head, text))
            else:
                verb.verbs.append(read_help(program, (*words, head)))
    verb.more = verb.more.strip("\n")
    return verb


def leaves(verb):
    return [leaf for one in verb.verbs for leaf in (leaves(one) or [one])]


# ---- man pages ----

def roff(text):
    text = text.replace("\\", r"\e").replace("-", r"\-")
    text = re.sub(r"`([^`]+)`", r"\\fB\1\\fR", text)
    return "\n".join(("\\&" if line[:1] in (".", "'") else "") + line for line in text.splitlines())


def synopsis(verb):
    words = [f"\\fB{roff(verb.name)}\\fR"]
    for option in verb.own_options:
        value = f" \\fI{roff(option.value)}\\fR" if option.value else ""
        words.append(f"[\\fB{roff(option.flags[-1])}\\fR{value}]")
    for name, what, required, _ in verb.positionals:
        word = f"\\fI{roff(what or name)}\\fR"
        words.append(word if required else f"[{word}]")
    return " ".join(words)


def option_entries(options):
    text = ""
    for option in options:
        value = f" \\fI{roff(option.value)}\\fR" if option.value else ""
        more = [option.text]
        if option.initial:
            more.append(f"Default: {option.initial}.")
        if option.variable:
            more.append(f"Environment: {option.variable}.")
        flags = ", ".join(f"\\fB{roff(flag)}\\fR" for flag in option.flags)
        text += f".TP\n{flags}{value}\n{roff('. '.join(more).replace('..', '.'))}\n"
    return text


def verb_entries(program):
    text = ""
    for verb in leaves(program):
        text += f".SS {synopsis(verb)}\n{roff(verb.summary)}.\n"
        if verb.more:
            text += f".PP\n.nf\n{roff(verb.more)}\n.fi\n"
        text += option_entries(verb.own_options)
    return text


def fill_in(page, **values):
    with open(os.path.join(HERE, "man", page + ".in")) as file:
        text = file.read()
    for name, value in values.items():
        text = text.replace(f"@{name}@\n", value if value.endswith("\n") else value + "\n")
        text = text.replace(f"@{name}@", value)
    return text


def allowed(key):
    """What may stand there, in words."""
    if "oneOf" in key:
        return ", or ".join(filter(None, (allowed(choice) for choice in key["oneOf"]))) + initial(key)
    words = []
    if "enum" in key:
        words.append("one of " + ", ".join(str(value) for value in key["enum"]))
    elif "type" in key:
        kinds = key["type"] if isinstance(key["type"], list) else [key["type"]]
        words.append(" or ".join({"array": "list", "object": "mapping"}.get(kind, kind) for kind in kinds))
    for name, word in (("minimum", "from"), ("x-minimum", "from"), ("maximum", "to"),
                       ("x-maximum", "to")):
        if name in key:
            words.append(f"{word} {key[name]}")
    if "x-unit" in key:
        words.append(f"in {key['x-unit']}")
    return " ".join(words) + initial(key)


def initial(key):
    return f"; default {json.dumps(key['default'])}" if "default" in key else ""


def inner_keys(path, key):
    """(path, key) of what is directly in a mapping, or in the mappings of a list."""
    for name, inner in key.get("properties", {}).items():
        yield f"{path}/{name}" if path else name, inner
    for inner in [*key.get("patternProperties", {}).values(), key.get("additionalProperties")]:
        if isinstance(inner, dict):
            yield f"{path}/NAME", inner
    if "properties" in key.get("items", {}):
        yield from inner_keys(path + "[]", key["items"])
    for choice in key.get("oneOf", []):
        yield from inner_keys(path, choice)


def key_entries(key, path=""):
    text = ""
    if path:
        text += f".TP\n\\fB{roff(path)}\\fR\n"
        if description := key.get("description"):
            text += roff(description) + "\n.br\n"
        text += f"({roff(allowed(key) or 'not in use')})\n"
    return text + "".join(key_entries(inner, name) for name, inner in inner_keys(path, key))


# ---- the pages of the other programs ----

def program_page(usage):
    """Its usage has a synopsis, paragraphs, and parts under a line that ends with a colon."""
    synopsis_line, _, rest = usage.partition("\n\n")
    words = synopsis_line.removeprefix("usage: ").split()
    values = {"SYNOPSIS": "\n".join([f".B {roff(' '.join(words[:2]))}",
                                     *(f".I {roff(word)}" for word in words[2:])])}
    about, *parts = re.split(r"(?m)^([A-Z][a-z ]+):\n", rest)
    values["DESCRIPTION"] = "\n.PP\n".join(roff(part) for part in about.strip().split("\n\n"))
    for title, body in zip(parts[::2], parts[1::2]):
        values[title.upper()] = "".join(f".TP\n{roff(head)}\n{roff(text)}\n"
                                        for head, text in rows(body.splitlines())).rstrip("\n")
    return values


# ---- completions ----

def bash(program):
    verbs = " ".join(verb.words[0] for verb in program.verbs)
    common = " ".join(flag for option in program.options for flag in option.flags)
    cases = ""
    for verb in program.verbs:
        inner = " ".join(one.words[-1] for one in verb.verbs)
        flags = " ".join(flag for leaf in [verb, *verb.verbs] for option in leaf.own_options
                         for flag in option.flags)
        cases += f"    {verb.words[0]}) words='{inner}' flags='{flags}' ;;\n"
    return f"""# bash completion for tunorch: verbs, options and files.
_tunorch() {{
  local current=${{COMP_WORDS[COMP_CWORD]}} verb='' word words='' flags=''
  for word in "${{COMP_WORDS[@]:1:COMP_CWORD-1}}"; do
    [[ " {verbs} " != *" $word "* ]] || {{ verb=$word; break; }}
  done
  case $verb in
    '') words='{verbs}' ;;
{cases}  esac
  if [[ $current == -* ]]; then
    mapfile -t COMPREPLY < <(compgen -W "$flags {common}" -- "$current")
  else
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current"
      [[ -z $verb ]] || compgen -f -- "$current")
  fi
}}
complete -o filenames -F _tunorch tunorch
"""


def quoted(text):
    return "'" + text.replace("'", "'\\''") + "'"


def zsh(program):
    def option_specs(options):
        specs = []
        for option in options:
            for flag in option.flags:
                text = re.sub(r"([\[\]:])", r"\\\1", option.text)
                specs.append(quoted(f"{flag}[{text}]" + (f":{option.value}:" if option.value else "")))
        return " \\\n      ".join(specs)

    described = " ".join(quoted(f"{verb.words[0]}:{verb.summary}") for verb in program.verbs)
    cases = ""
    for verb in program.verbs:
        inner = " ".join(quoted(f"{one.words[-1]}:{one.summary}") for one in verb.verbs)
        options = [option for leaf in [verb, *verb.verbs] for option in leaf.own_options]
        specs = option_specs(options + program.options)
        first = f"local -a inner=({inner}); " if inner else ""
        words = "'1:what:{_describe what inner}' " if inner else ""
        cases += f"    {verb.words[0]})\n      {first}_arguments {words}'*:file:_files' \\\n      {specs} ;;\n"
    return f"""#compdef tunorch
# zsh completion for tunorch: verbs, options and files.
_tunorch() {{
  local -a verbs=({described})
  local curcontext=$curcontext state line
  _arguments -C '1:verb:->verb' '*::more:->more' \\
      {option_specs(program.options)}
  [[ $state != verb ]] || _describe verb verbs
  [[ $state == more ]] || return
  case $words[1] in
{cases}  esac
}}
_tunorch "$@"
"""


def fish(program):
    text = "# fish completion for tunorch: verbs, options and files.\n"
    alone = "__fish_use_subcommand"
    for verb in program.verbs:
        text += (f"complete -c tunorch -f -n {alone} -a {verb.words[0]} -d {quoted(verb.summary)}\n")
        within = quoted(f"__fish_seen_subcommand_from {verb.words[0]}")
        for one in verb.verbs:
            text += (f"complete -c tunorch -f -n {within} -a {one.words[-1]} "
                     f"-d {quoted(one.summary)}\n")
        for option in [option for leaf in [verb, *verb.verbs] for option in leaf.own_options]:
            text += fish_option(option, f" -n {within}")
    return text + "".join(fish_option(option, "") for option in program.options)


def fish_option(option, condition):
    flags = "".join(f" -l {flag[2:]}" if flag.startswith("--") else f" -s {flag[1:]}"
                    for flag in option.flags)
    value = " -r" if option.value else ""
    return f"complete -c tunorch{condition}{flags}{value} -d {quoted(option.text)}\n"


def main():
    bin_dir, version, out = sys.argv[1:]
    program = read_help(os.path.join(bin_dir, "tunorch"))
    with open(SCHEMA) as file:
        schema = json.load(file)
    common = {"VERSION": version}
    pages = {
        "tunorch.1": fill_in("tunorch.1", **common, VERBS=verb_entries(program),
                             OPTIONS=option_entries(program.options)),
        "tunorch-cluster.yaml.5": fill_in("tunorch-cluster.yaml.5", **common, KEYS=key_entries(schema)),
        "tunorch.bash": bash(program), "_tunorch": zsh(program), "tunorch.fish": fish(program)}
    for other in ("tunorch-worker", "tunorch-web"):
        usage = subprocess.run([os.path.join(bin_dir, other), "--help"], check=True, capture_output=True,
                               text=True).stdout
        pages[f"{other}.8"] = fill_in(f"{other}.8", **common, **program_page(usage))
    os.makedirs(out, exist_ok=True)
    for name, text in pages.items():
        with open(os.path.join(out, name), "w") as file:
            file.write(text)


if __name__ == "__main__":
    main()
